"""What other cytometry programs open: FCS with two channels more, read back with FlowIO, and FlowJo's two tables."""

import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flowio import FlowData

from cytovae.cells import Assignment
from cytovae.errors import OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import Extras
from cytovae.outputs.fcs_copy import FcsWriter
from cytovae.outputs.formats import output_format, suffix_of
from cytovae.outputs.tables import AssignmentWriter

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"


def some(n_cells: int, n_clusters: int = 3, seed: int = 0) -> Assignment:
    p = np.random.default_rng(seed).dirichlet(np.ones(n_clusters), n_cells).astype(np.float32)
    return Assignment(p.argmax(1).astype(np.int32) + 1, p)


def log_integers(path: Path) -> None:
    """Two events of a 16-bit integer channel with four decades, $PnE 4,1 and $PnR 1024: 10^(4 · x / 1024)."""
    pairs = {
        "$BEGINANALYSIS": "0", "$ENDANALYSIS": "0", "$BEGINSTEXT": "0", "$ENDSTEXT": "0", "$NEXTDATA": "0",
        "$BEGINDATA": "512", "$ENDDATA": "515", "$BYTEORD": "1,2,3,4", "$DATATYPE": "I", "$MODE": "L", "$PAR": "1",
        "$TOT": "2", "$P1B": "16", "$P1E": "4,1", "$P1R": "1024", "$P1N": "FL1-H",
    }  # fmt: skip
    text = "|" + "".join(f"{name}|{value}|" for name, value in pairs.items())
    header = f"FCS3.0    {58:>8}{58 + len(text) - 1:>8}{512:>8}{515:>8}{0:>8}{0:>8}"
    path.write_bytes((header + text).ljust(512).encode() + struct.pack("<2H", 512, 0))


def test_the_copy_holds_every_channel_and_two_more(tmp_path: Path) -> None:
    file, result = open_fcs(SAMPLE), some(4_500)
    with FcsWriter(tmp_path / "x.fcs", file, 3) as writer:
        for first in (0, 2_000):
            part = slice(first, first + 2_000 if first == 0 else None)
            writer.write("a", first, Assignment(result.cluster[part], result.probabilities[part]))
        assert list(tmp_path.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.fcs"]
    before, after = FlowData(SAMPLE), FlowData(tmp_path / "x.fcs")
    raw, copied = (data.as_array(preprocess=False) for data in (before, after))
    assert after.pnn_labels == [*before.pnn_labels, "cytovae_cluster", "cytovae_probability"]
    assert after.pns_labels[:-2] == before.pns_labels
    assert np.array_equal(copied[:, :-2], raw)  # both are float32: exact
    assert np.array_equal(copied[:, -2], result.cluster)
    assert np.array_equal(copied[:, -1].astype(np.float32), result.probabilities.max(axis=1))
    assert (np.array(after.pnr_values) >= copied.max(axis=0) + 1).all()


def test_keywords_are_kept(tmp_path: Path) -> None:
    channels = [Channel(0, "FSC-A", "", 1e5), Channel(1, "V450-A", "CD3", 10.0)]
    words = {"$CYT": "Aurora", "$SPILLOVER": "2,FSC-A,V450-A,1,0,0.1,1", "MY NOTE": "a/b", "$P2G": "2.5"}
    write_fcs(tmp_path / "a.fcs", [[1.0, 20.5], [2.0, -3.0]], channels, words)
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3, extras=Extras(("T", "B", "NK"))) as writer:
        writer.write("a", 0, some(2))
    found = FlowData(tmp_path / "x.fcs").text
    expected = {"cyt": "Aurora", "spillover": words["$SPILLOVER"], "my note": "a/b", "p2g": "2.5", "p2s": "CD3"}
    assert {name: found.get(name) for name in expected} == expected
    assert float(found["p1r"]) == 1e5  # what was larger than it need be is kept
    assert float(found["p2r"]) == 22  # 20.5, rounded up, plus one
    assert [found[f"cytovae_cluster_{number}"] for number in (1, 2, 3)] == ["T", "B", "NK"]


def test_integers_on_a_log_scale_become_the_values_they_mean(tmp_path: Path) -> None:
    log_integers(tmp_path / "a.fcs")
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 2) as writer:
        writer.write("a", 0, some(2, 2))
    after = FlowData(tmp_path / "x.fcs")
    assert np.allclose(after.as_array()[:, 0], [100.0, 1.0], rtol=1e-6)
    assert after.text["p1e"] == "0,0"


def test_a_second_assignment_stands_beside_the_first(tmp_path: Path) -> None:
    before = SAMPLE
    for name in ("a.fcs", "b.fcs"):
        with FcsWriter(tmp_path / name, open_fcs(before), 3) as writer:
            writer.write("a", 0, some(4_500))
        before = tmp_path / name
    labels = FlowData(before).pnn_labels[-4:]
    assert labels == ["cytovae_cluster", "cytovae_probability", "cytovae_cluster_2", "cytovae_probability_2"]


def test_no_cells_make_an_fcs_file_without_events(tmp_path: Path) -> None:
    write_fcs(tmp_path / "a.fcs", np.empty((0, 1)), [Channel(0, "A", "", 1.0)])
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3):
        pass
    assert open_fcs(tmp_path / "x.fcs").n_events == 0


def test_an_fcs_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = open_fcs(SAMPLE)

    def written(n_cells: int, failure: type[BaseException] | None = None, force: bool = False) -> None:
        with FcsWriter(tmp_path / "x.fcs", file, 3, force=force) as writer:
            writer.write("a", 0, some(n_cells))
            if failure:
                raise failure

    with pytest.raises(OutputError, match="4499 of 4500"):
        written(4_499)
    with pytest.raises(KeyboardInterrupt):
        written(4_500, KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.fcs").write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        written(4_500)
    assert (tmp_path / "x.fcs").read_text() == "mine"
    written(4_500, force=True)
    assert FlowData(tmp_path / "x.fcs").event_count == 4_500


def test_flowjos_probabilities_are_a_column_per_class(tmp_path: Path) -> None:
    names = ("T cells", "B, naive", 'the "rest"')
    for path, populations in ((tmp_path / "x.clr", ()), (tmp_path / "named.clr", names)):
        with AssignmentWriter(path, "clr", 3, 9, extras=Extras(tuple(populations))) as writer:
            writer.write("a.fcs", 0, some(5))
            writer.write("a.fcs", 5, some(4, seed=1))
    table, named = pd.read_csv(tmp_path / "x.clr"), pd.read_csv(tmp_path / "named.clr")
    assert list(table) == ["cluster_1", "cluster_2", "cluster_3"]
    assert list(named) == list(names)
    expected = np.concatenate([some(5).probabilities, some(4, seed=1).probabilities])
    for found in (table, named):
        assert np.array_equal(found.to_numpy().astype(np.float32), expected)


def test_flowjos_classes_are_one_column_of_numbers(tmp_path: Path) -> None:
    with AssignmentWriter(tmp_path / "x.csv", "flowjo-csv", 3, 5) as writer:
        writer.write("a.fcs", 0, some(5))
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines == ["cytovae_cluster", *map(str, some(5).cluster)]


def test_formats_are_known_from_the_name() -> None:
    assert [output_format(f"x.{name}") for name in ("fcs", "clr")] == ["fcs", "clr"]
    assert [suffix_of(output_format("x", name)) for name in ("clr", "flowjo-csv", "fcs")] == [".clr", ".csv", ".fcs"]
    with pytest.raises(UsageError, match="standard output"):
        output_format("-", "fcs")
