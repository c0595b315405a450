"""The command line: one file per command. Installed and imported as ``cytovae.cli``."""
