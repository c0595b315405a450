"""What a trained model does: assign, measure novelty, generate, place cells on the UMAP."""
