"""Scores of cytovae beside other methods on the same cells, and the paper's experiments."""
