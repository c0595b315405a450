"""``python -m cytovae`` is the same as the command ``cytovae``."""

from cytovae.cli.main import run

if __name__ == "__main__":
    run()
