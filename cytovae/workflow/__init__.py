"""Studies and benchmarks as Snakemake workflows."""
