"""Joins the abundance tables of single files into one table of the study."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from cytovae.annotations.sample_sheet import StudyFile
from cytovae.errors import InputError
from cytovae.plain_file import open_plain

TABLE = "abundance.csv"

_NUMBERS = {"cluster": pa.int64(), "cells": pa.int64(), "fraction": pa.float64(), "cells_unknown": pa.int64()}


def gather_abundance(folder: Path, files: Sequence[StudyFile]) -> pa.Table:
    """Join the tables ``folder``/NAME/abundance.csv of all files.

    Parameters
    ----------
    folder
        Where ``cytovae assign --tables`` wrote a folder for each file.
    files
        The files of the study.

    Returns
    -------
    pyarrow.Table
        The rows of all tables in the order of ``files``, with the columns ``sample``, ``batch`` and ``condition``
        before the others. Batch and condition are left out if no file has one.

    Raises
    ------
    InputError
        If a table is missing, or has other columns than the first one.
    """
    annotations = ["sample", *(name for name in ("batch", "condition") if any(getattr(file, name) for file in files))]
    tables: list[pa.Table] = []
    for file in files:
        path = folder / file.name / TABLE
        try:
            with open_plain(path, "table") as stream:
                names = csv.open_csv(stream).schema.names
            # Explicit types, because a file may be called "7".
            types = {name: _NUMBERS.get(name, pa.string()) for name in names}
            with open_plain(path, "table") as stream:
                table = csv.read_csv(stream, convert_options=csv.ConvertOptions(column_types=types))
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(path, "table", str(error), "an abundance table of `cytovae assign --tables`") from error
        if tables and table.column_names != tables[0].column_names[len(annotations) :]:
            expected = ", ".join(tables[0].column_names[len(annotations) :])
            raise InputError(path, "header", ", ".join(table.column_names), f"{expected}, as in the first table")
        columns = [pa.array([getattr(file, name)] * len(table), pa.string()) for name in annotations]
        tables.append(pa.table([*columns, *table.columns], names=[*annotations, *table.column_names]))
    return pa.concat_tables(tables)
