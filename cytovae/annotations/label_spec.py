"""How labels in a file are named on the command line: ``FILE`` or ``FILE:COLUMN``."""

import re
from pathlib import Path

from cytovae.plain_file import is_plain

_SPEC = re.compile(r"(.+?\.(?:fcs|lmd|h5ad|parquet|pq|csv|tsv|txt|csv\.gz|tsv\.gz|txt\.gz)):(.+)", re.IGNORECASE)


def split_spec(spec: str | Path) -> tuple[Path, str | None]:
    """Path and column of ``FILE:COLUMN``; the column is None for any other path."""
    match = _SPEC.fullmatch(str(spec))
    return (Path(match[1]), match[2]) if match and not is_plain(Path(spec)) else (Path(spec), None)
