"""Checked reading of JSON objects."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cytovae.errors import ModelError
from cytovae.model_folder.layout import RUN, TRAIN_AGAIN
from cytovae.plain_file import sha256_of

LARGEST_JSON = 16 << 20  # bytes


def read_json(path: Path) -> "JsonFields":
    """The object in a JSON file. Raises :class:`ModelError` if the file is no such thing, or holds NaN or infinity."""
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise ModelError(f"{path} has {size} bytes, expected at most {LARGEST_JSON}. {TRAIN_AGAIN}.")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}. {TRAIN_AGAIN}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object. {TRAIN_AGAIN}.")
    return JsonFields(path, content)


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


class JsonFields:
    """The fields of a JSON object, each checked when it is read.

    Every reading method raises :class:`ModelError` that names the file and the field if the value is missing or of
    another type. ``within`` stands before the names of fields in these errors, as in ``settings.``.
    """

    def __init__(self, path: Path, content: Mapping[str, Any], within: str = "") -> None:
        self.path = path
        self.content = content
        self.within = within

    def __contains__(self, name: str) -> bool:
        return name in self.content

    def error(self, name: str, found: str, expected: str, hint: str = TRAIN_AGAIN) -> ModelError:
        """The error to raise for the field ``name``."""
        return ModelError(f"{self.path}: {self.within}{name}: found {found[:80]}, expected {expected}. {hint}.")

    def of_type(self, name: str, kind: type, expected: str) -> Any:
        """A value of type ``kind``; a boolean is no number."""
        value = self.content.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, repr(value) if name in self.content else "nothing", expected)
        return value

    def text(self, name: str) -> str:
        """A string."""
        return str(self.of_type(name, str, "text"))

    def integer(self, name: str) -> int:
        """A whole number."""
        return int(self.of_type(name, int, "a whole number"))

    def number(self, name: str) -> float:
        """A finite number."""
        value = self.content.get(name)
        kind = int if isinstance(value, int) else float
        try:
            number = float(self.of_type(name, kind, "a number"))
        except OverflowError:
            number = float("inf")
        if not np.isfinite(number):
            raise self.error(name, repr(value), "a finite number")
        return number

    def nested(self, name: str, expected: str) -> "JsonFields":
        """The fields of an object within this one."""
        return JsonFields(self.path, self.of_type(name, dict, expected), f"{self.within}{name}.")

    def entries(self, name: str, expected: str, each: str) -> tuple["JsonFields", ...]:
        """The objects of a list; ``expected`` describes the list in errors, ``each`` an entry."""
        content = self.of_type(name, list, expected)
        for position, entry in enumerate(content):
            if not isinstance(entry, dict):
                raise self.error(f"{name}[{position}]", repr(entry), each)
        return tuple(
            JsonFields(self.path, entry, f"{self.within}{name}[{position}].") for position, entry in enumerate(content)
        )


def check_sum(folder: Path, name: str, sums: JsonFields) -> None:
    """Raise :class:`ModelError` unless the SHA-256 of a file in ``folder`` is the one that ``sums`` records."""
    try:
        found = sha256_of(folder / name)
    except OSError as error:
        raise ModelError(f"{folder / name} cannot be read: {error.strerror or error}. {TRAIN_AGAIN}.") from error
    if sums.text(name) != found:
        raise ModelError(
            f"{folder / name} changed after it was written, or belongs to another model: its SHA-256 is not the one in "
            f"{RUN}. {TRAIN_AGAIN}."
        )
