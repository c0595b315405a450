"""Copies of FCS files with clusters, read back with FlowIO."""

import os
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flowio import FlowData

from cytovae import __version__
from cytovae.cells import Assignment
from cytovae.errors import OutputError
from cytovae.events.event_file import open_events
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.outputs.columns import Extras
from cytovae.outputs.fcs_copy import FcsWriter

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"


def random_assignment(n_cells: int, n_clusters: int = 3, seed: int = 0) -> Assignment:
    p = np.random.default_rng(seed).dirichlet(np.ones(n_clusters), n_cells).astype(np.float32)
    return Assignment(p.argmax(1).astype(np.int32) + 1, p)


def write_log_integers(path: Path) -> None:
    """Two events of a 16-bit integer channel with four decades, $PnE 4,1 and $PnR 1024: 10^(4 · x / 1024)."""
    pairs = {
        "$BEGINANALYSIS": "0", "$ENDANALYSIS": "0", "$BEGINSTEXT": "0", "$ENDSTEXT": "0", "$NEXTDATA": "0",
        "$BEGINDATA": "512", "$ENDDATA": "515", "$BYTEORD": "1,2,3,4", "$DATATYPE": "I", "$MODE": "L", "$PAR": "1",
        "$TOT": "2", "$P1B": "16", "$P1E": "4,1", "$P1R": "1024", "$P1N": "FL1-H",
    }  # fmt: skip
    text = "|" + "".join(f"{name}|{value}|" for name, value in pairs.items())
    header = f"FCS3.0    {58:>8}{58 + len(text) - 1:>8}{512:>8}{515:>8}{0:>8}{0:>8}"
    path.write_bytes((header + text).ljust(512).encode() + struct.pack("<2H", 512, 0))


def test_the_copy_has_every_channel_and_two_more(tmp_path: Path) -> None:
    file, result = open_fcs(SAMPLE), random_assignment(2_200)
    with FcsWriter(tmp_path / "x.fcs", file, 3) as writer:
        for first in (0, 2_000):
            rows = slice(first, first + 2_000 if first == 0 else None)
            writer.write("a", first, Assignment(result.cluster[rows], result.probabilities[rows]))
        assert list(tmp_path.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["x.fcs"]
    before, after = FlowData(SAMPLE), FlowData(tmp_path / "x.fcs")
    raw, copied = (data.as_array(preprocess=False) for data in (before, after))
    assert after.pnn_labels == [*before.pnn_labels, "cytovae_cluster", "cytovae_probability"]
    assert after.pns_labels == [*before.pns_labels, "cytovae cluster", "cytovae probability"]
    assert np.array_equal(copied[:, :-2], raw)  # both are float32: exact
    assert np.array_equal(copied[:, -2], result.cluster)
    assert np.array_equal(copied[:, -1].astype(np.float32), result.probabilities.max(axis=1))
    assert (np.array(after.pnr_values) >= copied.max(axis=0) + 1).all()


def test_keywords_are_kept(tmp_path: Path) -> None:
    channels = [Channel(0, "FSC-A", "", 1e5), Channel(1, "V450-A", "CD3", 10.0)]
    words = {"$CYT": "Aurora", "$SPILLOVER": "2,FSC-A,V450-A,1,0,0.1,1", "MY NOTE": "a/b", "$P2G": "2.5"}
    write_fcs(tmp_path / "a.fcs", [[1.0, 20.5], [2.0, -3.0]], channels, words)
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3, extras=Extras(("T", "B", "NK"))) as writer:
        writer.write("a", 0, random_assignment(2))
    text = FlowData(tmp_path / "x.fcs").text
    expected = {"cyt": "Aurora", "spillover": words["$SPILLOVER"], "my note": "a/b", "p2g": "2.5", "p2s": "CD3"}
    assert {name: text.get(name) for name in expected} == expected
    assert float(text["p1r"]) == 1e5  # a range larger than necessary is kept
    assert float(text["p2r"]) == 22  # 20.5, rounded up, plus one
    assert [text[f"cytovae_cluster_{number}"] for number in (1, 2, 3)] == ["T", "B", "NK"]


def test_keywords_keep_their_dollar_and_those_of_new_channels_are_not_inherited(tmp_path: Path) -> None:
    words = {"$P1TYPE": "Raw", "$P1ANALYTE": "CD3", "$P1FEATURE": "Area", "$MADE_UP": "1", "P2DISPLAY": "LOG", "Q": ""}
    write_fcs(tmp_path / "a.fcs", [[1.0], [2.0]], [Channel(0, "V450-A", "CD3", 10.0)], words | {"$P1G": "2.5"})
    content = (tmp_path / "a.fcs").read_bytes().replace(b"$MADE_UP", b"$P2PLACE")  # a channel that does not exist
    (tmp_path / "a.fcs").write_bytes(content)
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3) as writer:
        writer.write("a", 0, random_assignment(2))
    copied = open_fcs(tmp_path / "x.fcs").keywords
    expected = {"$P1TYPE": "Raw", "$P1ANALYTE": "CD3", "$P1FEATURE": "Area", "P2DISPLAY": "LOG", "$P1G": "2.5"}
    assert {name: copied.get(name) for name in expected} == expected
    assert copied["Q"].strip() == ""
    assert not {"P1TYPE", "$P2PLACE", "P2PLACE"} & set(copied)


def test_the_copy_says_what_was_done_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def copied(name: str) -> tuple[str, str, str]:
        file = open_fcs(tmp_path / name)
        with FcsWriter(tmp_path / "x.fcs", file, 2, force=True) as writer:
            writer.write("a", 0, random_assignment(2, 2))
        text = open_fcs(tmp_path / "x.fcs").keywords
        return text["$ORIGINALITY"], text["$LAST_MODIFIED"], text["$LAST_MODIFIER"]

    channel, modifier = [Channel(0, "A", "", 1.0)], f"cytovae {__version__}"
    write_fcs(tmp_path / "a.fcs", [[1.0], [2.0]], channel, {"$ORIGINALITY": "Original", "$LAST_MODIFIER": "me"})
    write_fcs(tmp_path / "b.fcs", [[1.0], [2.0]], channel, {"$ORIGINALITY": "DataModified"})
    write_log_integers(tmp_path / "c.fcs")
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    os.utime(tmp_path / "a.fcs", (1_000_000_000, 1_709_210_096))
    assert copied("a.fcs") == ("Appended", "29-FEB-2024 12:34:56", modifier)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1000000000")
    assert copied("a.fcs") == ("Appended", "09-SEP-2001 01:46:40", modifier)
    assert copied("b.fcs")[0] == copied("c.fcs")[0] == "DataModified"


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("x.fcs", "y.fcs"):
        with FcsWriter(tmp_path / name, open_fcs(SAMPLE), 3) as writer:
            writer.write("a", 0, random_assignment(2_200))
    assert (tmp_path / "x.fcs").read_bytes() == (tmp_path / "y.fcs").read_bytes()


@pytest.mark.parametrize(("of_study", "expected"), [((0.0, 0.0), "2,0"), ((5.0, 1.0), "5,1")])
def test_umap_coordinates_are_not_negative(of_study: tuple[float, float], expected: str, tmp_path: Path) -> None:
    coordinates = np.array([[-1.25, 3.0], [4.0, 0.5], [0.1, 7.0]], np.float32)
    write_fcs(tmp_path / "a.fcs", np.zeros((3, 1)), [Channel(0, "A", "", 1.0)])
    extras = Extras(umap=True, umap_shift=of_study)
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3, extras=extras) as writer:
        writer.write("a", 0, replace(random_assignment(3), coordinates=coordinates))
    file = open_fcs(tmp_path / "x.fcs")
    assert [channel.label for channel in file.channels[-2:]] == ["cytovae UMAP 1", "cytovae UMAP 2"]
    assert file.keywords["CYTOVAE_UMAP_SHIFT"] == expected
    written = file.read([3, 4])
    assert written.min() >= 0
    assert np.allclose(written - np.array(expected.split(","), float), coordinates, atol=1e-6)


def test_integers_on_a_log_scale_become_linear_values(tmp_path: Path) -> None:
    write_log_integers(tmp_path / "a.fcs")
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 2) as writer:
        writer.write("a", 0, random_assignment(2, 2))
    after = FlowData(tmp_path / "x.fcs")
    assert np.allclose(after.as_array()[:, 0], [100.0, 1.0], rtol=1e-12)
    assert after.text["p1e"] == "0,0"
    assert np.array_equal(open_fcs(tmp_path / "x.fcs").read([0]), open_fcs(tmp_path / "a.fcs").read())


def test_event_numbers_that_float32_cannot_hold_are_kept(tmp_path: Path) -> None:
    numbers = 2**30 + np.arange(200_000)  # several chunks; only the last number needs float64
    numbers[:-1] = 2**30
    table = pd.DataFrame({"CD3": np.zeros(len(numbers), np.float32), "event_id": numbers})
    table.to_parquet(tmp_path / "a.parquet")
    file = open_events(tmp_path / "a.parquet")
    with FcsWriter(tmp_path / "x.fcs", file, 3) as writer:
        writer.write("a", 0, random_assignment(len(numbers)))
    copied = open_fcs(tmp_path / "x.fcs")
    assert np.array_equal(copied.read([1])[:, 0], numbers)
    assert copied.keywords["$DATATYPE"] == "D"


def test_a_second_assignment_adds_channels_beside_the_first(tmp_path: Path) -> None:
    before = SAMPLE
    for name in ("a.fcs", "b.fcs"):
        with FcsWriter(tmp_path / name, open_fcs(before), 3) as writer:
            writer.write("a", 0, random_assignment(2_200))
        before = tmp_path / name
    labels = FlowData(before).pnn_labels[-4:]
    assert labels == ["cytovae_cluster", "cytovae_probability", "cytovae_cluster_2", "cytovae_probability_2"]


def test_a_file_without_events_gives_a_copy_without_events(tmp_path: Path) -> None:
    write_fcs(tmp_path / "a.fcs", np.empty((0, 1)), [Channel(0, "A", "", 1.0)])
    with FcsWriter(tmp_path / "x.fcs", open_fcs(tmp_path / "a.fcs"), 3):
        pass
    assert open_fcs(tmp_path / "x.fcs").n_events == 0


def test_a_copy_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    file = open_fcs(SAMPLE)

    def write(n_cells: int, failure: type[BaseException] | None = None, force: bool = False) -> None:
        with FcsWriter(tmp_path / "x.fcs", file, 3, force=force) as writer:
            writer.write("a", 0, random_assignment(n_cells))
            if failure:
                raise failure

    with pytest.raises(OutputError, match="2199 of 2200"):
        write(2_199)
    with pytest.raises(KeyboardInterrupt):
        write(2_200, KeyboardInterrupt)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "x.fcs").write_text("mine")
    with pytest.raises(OutputError, match="--force"):
        write(2_200)
    assert (tmp_path / "x.fcs").read_text() == "mine"
    write(2_200, force=True)
    assert FlowData(tmp_path / "x.fcs").event_count == 2_200
