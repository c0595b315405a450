"""Who is similar: neighbours, UMAP, micro-clusters, the merge tree, and the matrix S."""
