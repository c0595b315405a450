"""Tables and files of assigned cells."""
