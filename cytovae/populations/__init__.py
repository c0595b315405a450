"""Similarity of landmarks: neighbors, UMAP, micro-clusters, the merge tree, and the matrix S."""
