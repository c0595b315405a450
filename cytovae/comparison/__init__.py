"""Differences between groups of samples: abundance of populations, and levels of state markers."""
