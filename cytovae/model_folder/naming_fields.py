"""The names of populations in ``model.json``: marker table or labels, the name of each expert, and the evidence."""

from dataclasses import asdict, fields, replace

import numpy as np
from numpy.typing import NDArray

from cytovae.annotations.marker_table import PanelTypes
from cytovae.model_folder.json_fields import JsonFields
from cytovae.naming.evidence import Evidence
from cytovae.naming.naming import Naming

LABELLED = "labels"  # the field of a model that learned from labels


def describe_naming(naming: Naming) -> dict[str, object]:
    """The field ``naming`` of ``model.json``."""
    types = naming.types
    rows = [
        {"name": name, "levels": {m: float(v) for m, v in zip(types.markers, row, strict=True) if np.isfinite(v)}}
        for name, row in zip(types.populations, types.levels, strict=True)
    ]
    return {
        "types": rows,
        "missing": types.missing,
        "unusable": types.unusable,
        "of_expert": naming.of_expert,
        "evidence": [asdict(each) for each in naming.evidence],
        "not_found": naming.not_found,
        "low": _without_nan(naming.low),
        "high": _without_nan(naming.high),
        **({} if naming.novelty_limit is None else {LABELLED: _labelled(naming)}),
    }


def _labelled(naming: Naming) -> dict[str, object]:
    """What only a model with labels has."""
    cells = [{"name": name, "cells": count} for name, count in naming.labelled]
    usual = {} if naming.usual_novelty is None else {"usual_novelty": naming.usual_novelty}
    return {"novelty_limit": naming.novelty_limit, **usual, "populations": cells}


def has_strangers(naming: Naming | None) -> bool:
    """Whether the network of a model with these names tells strangers from landmarks."""
    return naming is not None and naming.novelty_limit is not None


def read_naming(description: JsonFields, markers: tuple[str, ...], experts: int) -> Naming | None:
    """The names in ``model.json``; None if the model has none. Raises :class:`ModelError` if they are damaged."""
    if "naming" not in description:
        return None
    content = description.nested("naming", "the names of populations")
    rows = content.entries("types", "a list of populations", "a population")
    levels = np.full((len(rows), len(markers)), np.nan, dtype=np.float32)
    for row, entry in zip(levels, rows, strict=True):
        asked = entry.nested("levels", "the level of each marker")
        for marker in asked.content:
            level = asked.number(marker)
            if marker not in markers or not -1 <= level <= 1:
                raise entry.error("levels", f"{marker}: {level}", "a level from -1 to 1 of a marker of the model")
            row[markers.index(marker)] = level
    types = PanelTypes(
        tuple(entry.text("name") for entry in rows),
        markers,
        levels,
        _texts(content, "missing"),
        _texts(content, "unusable"),
    )
    of_expert = _texts(content, "of_expert")
    if len(of_expert) != experts:
        raise content.error("of_expert", f"{len(of_expert)} names", f"one for each of {experts} experts")
    evidence = tuple(_read_evidence(entry) for entry in content.entries("evidence", "a list", "what speaks for a name"))
    low, high = (np.array(_levels(content, name, len(markers)), dtype=np.float32) for name in ("low", "high"))
    naming = Naming(of_expert, types, evidence, _texts(content, "not_found"), low, high)
    if LABELLED not in content:
        return naming
    labels = content.nested(LABELLED, "the populations with labels")
    entries = labels.entries("populations", "a list of populations", "a population")
    cells = tuple((entry.text("name"), entry.integer("cells")) for entry in entries)
    limit = _share(labels, "novelty_limit")
    usual = _share(labels, "usual_novelty") if "usual_novelty" in labels else None
    return replace(naming, labelled=cells, novelty_limit=limit, usual_novelty=usual)


def _share(content: JsonFields, name: str) -> float:
    """A number from 0 to 1."""
    number = content.number(name)
    if not 0 <= number <= 1:
        raise content.error(name, f"{number}", "a number from 0 to 1")
    return number


def _read_evidence(entry: JsonFields) -> Evidence:
    kinds = {field.name: field.type for field in fields(Evidence)}
    values: dict[str, object] = {}
    for name, kind in kinds.items():
        if kind is str:
            values[name] = entry.text(name)
        elif kind is int:
            values[name] = entry.integer(name)
        elif kind is float:
            values[name] = entry.number(name)
        elif name == "markers":
            values[name] = _texts(entry, name)
        else:
            values[name] = _levels(entry, name, len(_texts(entry, "markers")))
    return Evidence(**values)  # type: ignore[arg-type]


def _texts(content: JsonFields, name: str) -> tuple[str, ...]:
    """A list of texts."""
    texts = content.of_type(name, list, "a list of names")
    if not all(isinstance(text, str) for text in texts):
        raise content.error(name, repr(texts), "a list of names")
    return tuple(texts)


def _levels(content: JsonFields, name: str, n: int) -> tuple[float, ...]:
    """A list of ``n`` numbers; null is NaN."""
    numbers = content.of_type(name, list, "a list of numbers")
    if len(numbers) != n or not all(x is None or (isinstance(x, int | float) and np.isfinite(x)) for x in numbers):
        raise content.error(name, repr(numbers), f"{n} numbers")
    return tuple(np.nan if x is None else float(x) for x in numbers)


def _without_nan(values: NDArray[np.float32]) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]
