"""Reading of TOML files."""

import tomllib
from pathlib import Path
from typing import Any

from cytovae.errors import InputError
from cytovae.plain_file import open_plain


def read_toml(path: Path, field: str) -> dict[str, Any]:
    """The content of a TOML file. Raises :class:`InputError` about ``field`` if it cannot be read."""
    expected = "a readable TOML file"
    try:
        with open_plain(path, field) as stream:
            return tomllib.load(stream)
    except RecursionError as error:
        raise InputError(path, field, "tables or lists that are nested too deeply", expected) from error
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, not TOML, or a number with thousands of digits
        raise InputError(path, field, str(error), expected) from error
