"""Checked reading of JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from cytovae.errors import ModelError
from cytovae.model_folder.layout import TRAIN_AGAIN

LARGEST_JSON = 16 << 20


def member(folder: Path, name: str) -> Path:
    """A file of the folder. A link that leads out of it, or to anything but a plain file, is refused."""
    path = folder / name
    try:
        inside = path.resolve(strict=True).is_relative_to(folder.resolve(strict=True))
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} is missing or cannot be reached. {TRAIN_AGAIN}.") from error
    if not inside or not path.is_file():
        raise ModelError(f"{path} is a link out of the model folder, or not a plain file. {TRAIN_AGAIN}.")
    return path


def read_json(path: Path) -> dict[str, Any]:
    try:
        size = path.stat().st_size
        if size > LARGEST_JSON:
            raise ModelError(f"{path} has {size} bytes, expected less than {LARGEST_JSON}. {TRAIN_AGAIN}.")
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read as JSON: {error}. {TRAIN_AGAIN}.") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} holds no JSON object. {TRAIN_AGAIN}.")
    return content


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


class JsonFields:
    """The fields of a JSON object, each checked for its type when it is asked for."""

    def __init__(self, path: Path, content: Mapping[str, Any], within: str = "") -> None:
        self.path = path
        self.content = content
        self.within = within

    def error(self, name: str, found: str, expected: str, hint: str = TRAIN_AGAIN) -> ModelError:
        """A :class:`ModelError` about the field ``name``."""
        return ModelError(f"{self.path}: {self.within}{name}: found {found[:80]}, expected {expected}. {hint}.")

    def of_type(self, name: str, kind: type, expected: str) -> Any:
        value = self.content.get(name)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.error(name, repr(value) if name in self.content else "nothing", expected)
        return value

    def text(self, name: str) -> str:
        return str(self.of_type(name, str, "text"))

    def whole(self, name: str) -> int:
        return int(self.of_type(name, int, "a whole number"))

    def number(self, name: str) -> float:
        value = self.content.get(name)
        kind = int if isinstance(value, int) else float
        try:
            number = float(self.of_type(name, kind, "a number"))
        except OverflowError:
            number = float("inf")
        if not np.isfinite(number):
            raise self.error(name, repr(value), "a finite number")
        return number
