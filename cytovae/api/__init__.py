"""The Python API: every public name of its modules is available as ``cytovae.NAME``."""
