"""Names of populations: from marker tables to branches of the merge tree."""
