"""The abundance tables of single files as one table of the study."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from cytovae.annotations.study_samples import Sample
from cytovae.errors import InputError

TABLE = "abundance.csv"


_NUMBERS = {"cluster": pa.int64(), "cells": pa.int64(), "fraction": pa.float64()}


def gather_abundance(folder: Path, samples: Sequence[Sample]) -> pa.Table:
    """The rows of ``folder``/NAME/abundance.csv of all samples, each with the sample, batch and condition before it.

    Batch and condition are there where any sample has one. The other columns are as `cytovae assign --tables` writes
    them. Raises :class:`InputError` for a table that is missing or unlike the first one.
    """
    about = ["sample", *(name for name in ("batch", "condition") if any(getattr(s, name) for s in samples))]
    parts: list[pa.Table] = []
    for sample in samples:
        path = folder / sample.name / TABLE
        try:
            names = csv.open_csv(path).schema.names
            types = {name: _NUMBERS.get(name, pa.string()) for name in names}  # a file may be called 7
            table = csv.read_csv(path, convert_options=csv.ConvertOptions(column_types=types))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(path, "table", str(error), "an abundance table of `cytovae assign --tables`") from error
        if parts and table.column_names != parts[0].column_names[len(about) :]:
            expected = ", ".join(parts[0].column_names[len(about) :])
            raise InputError(path, "header", ", ".join(table.column_names), f"{expected}, as in the first table")
        columns = [pa.array([getattr(sample, name)] * len(table), pa.string()) for name in about]
        parts.append(pa.table([*columns, *table.columns], names=[*about, *table.column_names]))
    return pa.concat_tables(parts)
