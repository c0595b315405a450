"""The report: numbers are collected, pictures drawn of them, and both put on one page that needs nothing else."""
