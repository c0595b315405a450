"""Clustering methods compared on the same cells and scored against manual gates."""
