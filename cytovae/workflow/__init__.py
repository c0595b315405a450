"""Studies and benchmarks as Snakemake workflows: sample sheets, what is written, and what is gathered at the end."""
