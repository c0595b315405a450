"""What several test modules make and call."""
