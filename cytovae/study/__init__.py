"""Several files as one study: sampling, training, assigning."""
