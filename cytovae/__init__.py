"""Clusters and probabilities for cytometry cells, from a mixture-of-experts similarity VAE.

The rooms, in the order data flows: ``fcs`` → ``panel`` → ``transform`` → ``landmarks`` → ``similarity`` →
``training`` (with ``model`` and ``losses``) → ``resolution`` → ``assignment`` → ``outputs`` and ``metrics``.
Importing the package loads nothing heavy.
"""

__version__ = "0.1.0"
