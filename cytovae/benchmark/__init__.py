"""Scores of cytovae beside other methods on the same cells."""
