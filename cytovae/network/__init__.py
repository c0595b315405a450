"""The neural network, its loss and its training loop."""
