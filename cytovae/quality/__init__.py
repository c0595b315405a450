"""Quality control: which events of a file are trusted, before any clustering."""
