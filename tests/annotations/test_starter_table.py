"""Starter tables: what they list for a panel, and that the reader of marker tables accepts them."""

import csv
from importlib import resources
from pathlib import Path
from typing import get_args

import pytest

from cytovae.annotations.marker_table import parse_marker_table
from cytovae.annotations.starter_table import Species, Tissue, starter_table
from cytovae.events.antigen_names import known_antigen

ENTRIES = list(
    csv.DictReader(
        (resources.files("cytovae.annotations") / "starter_types.csv").read_text(encoding="utf-8").split("\n")
    )
)


def test_populations_and_levels_are_spelled_as_the_panel_does() -> None:
    text = starter_table(("CD19", "HLADR", "CD3e", "CD14", "Ki-67"), "human", "blood")
    assert text == (
        "population,parent,CD19,HLADR,CD3e,CD14,source\n"
        "B cells,,+,+,-,-,Maecker 2012\n"
        "Classical monocytes,,-,+,-,+,Ziegler-Heitbrock 2010\n"
    )


def test_populations_that_a_panel_cannot_tell_apart_are_one_row() -> None:
    table = parse_marker_table(starter_table(("CD3", "CD4", "CD8", "CD45RA"), "human", "blood"), Path("t.csv"))
    assert table.populations == (
        "CD4 T cells",
        "Naive CD4 T cells",
        "Central memory CD4 T cells / Effector memory CD4 T cells",
        "CD8 T cells",
        "Naive CD8 T cells",
        "Central memory CD8 T cells / Effector memory CD8 T cells",
    )


@pytest.mark.parametrize("species", get_args(Species))
@pytest.mark.parametrize("tissue", get_args(Tissue))
def test_the_whole_list_is_a_valid_marker_table(species: Species, tissue: Tissue) -> None:
    rows = [entry for entry in ENTRIES if entry["species"] == species and tissue in entry["tissues"].split("|")]
    markers = dict.fromkeys(word[:-1] for entry in rows for word in entry["markers"].split())
    table = parse_marker_table(starter_table(tuple(markers), species, tissue), Path("types.csv"))
    assert set(table.populations) <= {entry["population"] for entry in rows}
    assert len(table.populations) >= len(rows) - 1


def test_every_row_has_a_source_and_known_antigens() -> None:
    assert all(entry["source"] for entry in ENTRIES)
    words = {word for entry in ENTRIES for word in entry["markers"].split()}
    assert all(word[-1] in "+-~" for word in words)
    both = {"CD16/32"}  # one antibody of mouse panels binds both
    assert {word[:-1] for word in words if not known_antigen(word[:-1])} == both
