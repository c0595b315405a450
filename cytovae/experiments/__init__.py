"""The experiments of the paper, repeated on its data."""
