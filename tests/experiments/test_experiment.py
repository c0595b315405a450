"""The folder of an experiment: resuming, refusing other folders, and the files of results."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from cytovae.benchmark.tables import markdown
from cytovae.errors import InputError, OutputError
from cytovae.experiments.experiment import (
    Conditions,
    Experiment,
    Finished,
    Measurement,
    Outcome,
    Piece,
    do_pieces,
    over_seeds,
    prepare,
    write_results,
)


def piece(seed: int, done: list[int]) -> Piece:
    def do() -> Outcome:
        done.append(seed)
        line = Measurement("A1", "mean", "10", seed, "value", 1.0 + seed)
        return Outcome((line,), {"image": np.full((2, 2), seed)})

    return Piece(f"piece/{seed}", ("test", seed), do)


def finish(folder: Path, done: list[int], seeds: int = 2) -> list[Finished]:
    return list(do_pieces(folder, "toy", [piece(seed, done) for seed in range(seeds)]))


def test_finished_pieces_are_not_run_again(tmp_path: Path) -> None:
    folder = tmp_path / "toy"
    done: list[int] = []
    prepare(folder, "toy")
    finish(folder, done)
    prepare(folder, "toy")
    again = finish(folder, done, seeds=3)
    assert done == [0, 1, 2]
    assert [each.outcome.arrays["image"].tolist() for each in again] == [[[seed] * 2] * 2 for seed in range(3)]
    spread = over_seeds(again, part="A1", method="mean", measure="value", setting="10")
    assert (spread.mean, spread.sd, spread.n) == (2.0, 1.0, 3)
    prepare(folder, "toy", force=True)
    finish(folder, done)
    assert done == [0, 1, 2, 0, 1]


def test_the_key_of_a_piece_depends_on_its_identity() -> None:
    one, other = Piece("t", ("a", 1), lambda: Outcome(())), Piece("t", ("a", 2), lambda: Outcome(()))
    assert one.key != other.key
    assert one.key == Piece("t", ("a", 1), lambda: Outcome(())).key


def test_a_folder_with_other_contents_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="neither empty nor of an earlier run of toy"):
        prepare(tmp_path, "toy")
    prepare(tmp_path, "toy", force=True)
    assert (tmp_path / "notes.txt").read_text() == "mine"
    with pytest.raises(OutputError, match="of other"):
        prepare(tmp_path, "other")


def test_a_damaged_piece_is_named(tmp_path: Path) -> None:
    prepare(tmp_path, "toy")
    finish(tmp_path, [])
    path = tmp_path / "toy.pieces" / f"{piece(1, []).key}.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="Remove it and run again") as caught:
        finish(tmp_path, [])
    assert caught.value.file == str(path)


def test_the_results_have_one_row_for_each_measurement(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    prepare(tmp_path, "toy")
    finished = finish(tmp_path, [])
    experiment = Experiment(
        "toy",
        [each.piece for each in finished],
        lambda _finished: markdown(["what", "value"], [["mean", "1.5"]]),
        lambda _finished: {"one.png": Figure()},
    )
    conditions = Conditions(seeds=2, device="cpu", threads=1, quick=True)
    paths = write_results(tmp_path, experiment, finished, conditions, argv=["benchmark", "paper", "toy"])
    assert [path.name for path in paths] == ["results.parquet", "table.md", "one.png", "run.json"]
    lines = pq.read_table(tmp_path / "results.parquet").to_pylist()
    shared = {"part": "A1", "method": "mean", "setting": "10", "measure": "value"}
    assert lines == [{**shared, "seed": 0, "value": 1.0}, {**shared, "seed": 1, "value": 2.0}]
    text = (tmp_path / "table.md").read_text()
    assert text.startswith("| what | value |\n| --- | ---: |\n| mean | 1.5 |\n")
    assert "`cytovae benchmark paper toy`" in text
    assert "numpy " in text
    record = json.loads((tmp_path / "run.json").read_text())
    assert (record["seeds"], record["device"], record["quick"]) == ([0, 1], "cpu", True)
    assert record["versions"]["numpy"] == np.__version__
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*(path.name for path in paths), "toy.pieces"])
