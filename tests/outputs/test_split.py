"""FCS copies split by population, read again as gates; abundances and medians per sample and population."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cytovae.annotations.gates import read_gates_of_files
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment
from cytovae.errors import OutputError
from cytovae.events.marker_file import MarkerFile, files_of_study
from cytovae.events.panel import resolve_panel
from cytovae.events.transform import Transform
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import Extras
from cytovae.outputs.fcs_copy import FcsWriter, split_stems
from cytovae.outputs.sample_summary import SampleSummary

POPULATIONS = ("CD4 T", "CD8+/γδ", "CD4 T", "unknown", "empty")
N = 600


def write_file(path: Path, seed: int = 0) -> Path:
    values = np.random.default_rng(seed).normal(100, 30, (N, 3)).astype(np.float32)
    write_fcs(path, values, tuple(Channel(i, f"Xx{i}Di", f"CD{i}", 1e3) for i in range(3)))
    return path


def assignment(seed: int = 0, n: int = N) -> Assignment:
    """Random clusters 1 to 4 of five."""
    cluster = np.random.default_rng(seed).integers(1, 5, n).astype(np.int32)
    return Assignment(cluster, np.eye(5, dtype=np.float32)[cluster - 1])


def split(folder: Path, file: Path, *, force: bool = False) -> None:
    extras = Extras(POPULATIONS)
    with FcsWriter(folder, open_fcs(file), 5, extras=extras, split=POPULATIONS, force=force) as writer:
        first = replace(
            assignment(), cluster=assignment().cluster[:250], probabilities=assignment().probabilities[:250]
        )
        rest = replace(assignment(), cluster=assignment().cluster[250:], probabilities=assignment().probabilities[250:])
        writer.write("a.fcs", 0, first)
        writer.write("a.fcs", 250, rest)


def test_the_parts_are_the_gates_of_the_file(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.fcs")
    split(tmp_path / "parts" / "a", file)
    assert sorted(path.name for path in (tmp_path / "parts" / "a").iterdir()) == [
        *("CD4 T.fcs", "CD8+_γδ.fcs", "unknown.fcs")
    ]
    gates = read_gates_of_files([open_fcs(file)], str(tmp_path / "parts"))
    stems = split_stems(POPULATIONS)
    expected = [stems[POPULATIONS[number - 1]] for number in assignment().cluster]
    assert [gates.names[index] for index in gates.population] == expected


def test_a_part_keeps_its_events_and_says_what_it_is(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.fcs")
    split(tmp_path / "a", file)
    part = open_fcs(tmp_path / "a" / "CD8+_γδ.fcs")
    rows = assignment().cluster == 2
    assert np.array_equal(part.read([0, 1, 2]), open_fcs(file).read()[rows])
    assert part.keywords["CYTOVAE_SPLIT"] == "CD8+/γδ"
    assert part.keywords["$ORIGINALITY"] == "DataModified"
    assert [channel.name for channel in part.channels][3:5] == ["cytovae_cluster", "cytovae_probability"]


def test_files_of_others_are_never_replaced(tmp_path: Path) -> None:
    file = write_file(tmp_path / "a.fcs")
    split(tmp_path / "a", file)
    with pytest.raises(OutputError, match="--force"):
        split(tmp_path / "a", file)
    split(tmp_path / "a", file, force=True)
    (tmp_path / "a" / "mine.fcs").touch()
    with pytest.raises(OutputError, match=r"mine\.fcs; choose another output"):
        split(tmp_path / "a", file, force=True)


@pytest.mark.parametrize(
    ("names", "stems"),
    [
        (("CD8+", "CD8-", "CD4 T"), ["CD8+", "CD8-", "CD4 T"]),
        (("a/b", "a:b", "A/B"), ["a_b", "a_b_2", "A_B_3"]),
        (("..", "x" * 400, "\n"), ["unnamed", "x" * 150, "_"]),
    ],
)
def test_names_of_files(names: tuple[str, ...], stems: list[str]) -> None:
    assert list(split_stems(names).values()) == stems


# --- samples ---


@pytest.fixture
def files(tmp_path: Path) -> tuple[MarkerFile, ...]:
    opened = [open_fcs(write_file(tmp_path / f"{name}.fcs", seed)) for seed, name in enumerate("abc")]
    panel = resolve_panel(opened[0])
    return files_of_study(opened, panel, Transform("arcsinh", panel.cofactors))


def summary_of(files: tuple[MarkerFile, ...], sheet: SampleSheet, *, qc: bool = False) -> SampleSummary:
    summary = SampleSummary(files, 5, populations=POPULATIONS, samples=sheet)
    for seed, file in enumerate(files):
        cells = assignment(seed)
        if qc:
            cells = replace(cells, qc=(np.arange(N) % 3 == 0).astype(np.uint8))
        for start in (0, 400):
            part = slice(start, start + 400)
            failed = None if cells.qc is None else cells.qc[part]
            summary.write(file.name, start, Assignment(cells.cluster[part], cells.probabilities[part], qc=failed))
    return summary


@pytest.mark.parametrize("qc", [False, True])
def test_samples_and_populations_by_pandas(files: tuple[MarkerFile, ...], *, qc: bool) -> None:
    """Files a and c are one sample; the table is that of pandas' own grouping."""
    sheet = SampleSheet(("sample",), {"a.fcs": ("s1",), "b.fcs": ("s2",), "c.fcs": ("s1",)})
    summary = summary_of(files, sheet, qc=qc)
    named = np.array(["CD4 T", "CD8+/γδ", "CD4 T", "cluster 4"])
    cells = pd.concat(
        pd.DataFrame(file.file.read(), columns=["Xx0Di", "Xx1Di", "Xx2Di"]).assign(
            sample=sheet.of(file.name)[0], population=named[assignment(seed).cluster - 1]
        )[~(np.arange(N) % 3 == 0) if qc else slice(None)]
        for seed, file in enumerate(files)
    )
    abundance = summary.abundance().to_pandas().set_index(["sample", "population"])
    counts = cells.groupby(["sample", "population"]).size()
    assert abundance["cells"][abundance["cells"] > 0].to_dict() == counts.to_dict()
    assert abundance.loc["s1", "fraction"].sum() == pytest.approx(1)
    assert abundance.loc[("s2", "empty"), "cells"] == 0
    medians = summary.medians().to_pandas().set_index(["sample", "population", "channel"])["median"].dropna()
    expected = cells.groupby(["sample", "population"]).median().stack()
    assert medians.to_dict() == pytest.approx(expected.to_dict())


def test_without_a_sheet_a_file_is_a_sample(files: tuple[MarkerFile, ...]) -> None:
    table = summary_of(files, NO_SAMPLES).abundance().to_pandas()
    assert table["sample"].unique().tolist() == ["a.fcs", "b.fcs", "c.fcs"]
