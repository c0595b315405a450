"""The neural network, its losses and its training loop: tensors only."""
