"""What users know about cells, files and clusters: gates, labels, names, sample sheets."""
