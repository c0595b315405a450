"""The experiments on handwritten digits."""
