"""`cytovae assign` through the real app, with a small model made here: what it writes, and what it refuses."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command
from helpers.sample_model import FILES, merge_tree, write_model
from helpers.signals import heed_all
from typer.testing import CliRunner

from cytovae.cells import GateLabels
from cytovae.cli.main import app
from cytovae.errors import DeviceError, InputError, ModelError, OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.inference.assigner import assign
from cytovae.metrics import score
from cytovae.model_folder.load import load_model

pytestmark = pytest.mark.slow

BASELINE, STIM = FILES


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = merge_tree([0, 1, 0, 2, 0], [3, 4, 1, 5, 2], 2, [60, 50, 40, 30, 20, 10])
    return write_model(tmp_path_factory.mktemp("models") / "model", tree, 4)


COMMAND = Command(("assign",), ("--device", "cpu", "--threads", "2"))
run = COMMAND.run
done = COMMAND.done
refused = COMMAND.refused


def test_every_event_has_a_row_in_order(model: Path, tmp_path: Path) -> None:
    result = done(model, BASELINE, STIM, "-o", tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    files = [open_fcs(BASELINE), open_fcs(STIM)]
    sizes = [file.n_events for file in files]
    assert table["file"].tolist() == [BASELINE.name] * sizes[0] + [STIM.name] * sizes[1]
    assert table["event"].tolist() == [*range(sizes[0]), *range(sizes[1])]
    p = table.filter(regex=r"^p_\d+$").to_numpy()
    assert p.shape == (sum(sizes), 4)
    assert np.abs(p.sum(axis=1, dtype=np.float64) - 1).max() < 1e-5
    assert np.array_equal(table["cluster"], p.argmax(axis=1) + 1)
    assert np.array_equal(table["probability"], p.max(axis=1))
    # The same from the library, file by file.
    saved = load_model(model)
    for file, rows in zip(files, np.split(p, [sizes[0]]), strict=True):
        columns = [next(c.index for c in file.channels if c.name == m.channel) for m in saved.panel.markers]
        expected = assign(saved.model, saved.transform.apply(file.read(columns))).probabilities
        assert np.allclose(rows, expected, atol=1e-6)
    assert f"{BASELINE.name}: {sizes[0]:,} cells" in result.stderr
    assert result.stdout == ""


def test_csv_folders_and_standard_output_hold_the_same(model: Path, tmp_path: Path) -> None:
    done(model, BASELINE, STIM, "-o", tmp_path / "x.parquet", "--quiet")
    done(model, BASELINE, STIM, "-o", tmp_path / "x.csv")
    done(model, BASELINE, STIM, "-o", f"{tmp_path}/each/")
    shown = done(model, BASELINE, STIM, "-o", "-", "--quiet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    from_csv = pd.read_csv(tmp_path / "x.csv", dtype={"event": "int64", "cluster": "int32"} | _floats(table))
    pd.testing.assert_frame_equal(from_csv, table, check_exact=True, check_dtype=False)
    assert shown.stdout_bytes == (tmp_path / "x.csv").read_bytes()
    assert shown.stderr == ""
    each = [tmp_path / "each" / f"{file.stem}.parquet" for file in (BASELINE, STIM)]
    assert sorted((tmp_path / "each").iterdir()) == each
    pd.testing.assert_frame_equal(pd.concat(map(pd.read_parquet, each), ignore_index=True), table, check_exact=True)


def _floats(table: pd.DataFrame) -> dict[str, str]:
    return {str(name): "float32" for name in table if table[name].dtype == np.float32}


def test_the_same_command_writes_the_same_bytes(model: Path, tmp_path: Path) -> None:
    for kind in ("parquet", "csv"):
        for name in ("a", "b"):
            done(model, BASELINE, "-o", tmp_path / f"{name}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


def test_more_than_one_chunk_keeps_its_order(model: Path, tmp_path: Path) -> None:
    # 92 copies of 2,200 events are four chunks: every copy must be assigned as the first.
    file = open_fcs(BASELINE)
    write_fcs(tmp_path / "long.fcs", np.tile(file.read(), (92, 1)), file.channels)
    done(model, tmp_path / "long.fcs", "-o", tmp_path / "x.parquet")
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert table["event"].tolist() == list(range(92 * file.n_events))
    p = table.filter(regex=r"^p_").to_numpy().reshape(92, file.n_events, -1)
    assert np.allclose(p, p[0], atol=1e-6)


def test_markers_are_matched_by_name_whatever_their_order(model: Path, tmp_path: Path) -> None:
    file = open_fcs(BASELINE)
    order = np.random.default_rng(0).permutation(len(file.channels))
    channels = [
        Channel(place, file.channels[old].name, file.channels[old].label, 1e6) for place, old in enumerate(order)
    ]
    write_fcs(tmp_path / BASELINE.name, file.read(order.tolist()), channels)
    done(model, BASELINE, "-o", tmp_path / "a.parquet")
    done(model, tmp_path / BASELINE.name, "-o", tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_a_missing_marker_is_named_before_anything_is_written(model: Path, tmp_path: Path) -> None:
    file = open_fcs(BASELINE)
    kept = [channel for channel in file.channels if "CD19" not in channel.label]
    assert len(kept) == len(file.channels) - 1
    channels = [Channel(place, old.name, old.label, 1e6) for place, old in enumerate(kept)]
    write_fcs(tmp_path / "less.fcs", file.read([old.index for old in kept]), channels)
    told = refused(ModelError, model, BASELINE, tmp_path / "less.fcs", "-o", tmp_path / "x.parquet")
    assert "less.fcs" in told
    assert "CD19 is missing" in told
    assert not (tmp_path / "x.parquet").exists()


def test_clusters_cut_the_tree_elsewhere(model: Path, tmp_path: Path) -> None:
    done(model, BASELINE, "-o", tmp_path / "four.parquet")
    done(model, BASELINE, "-o", tmp_path / "two.parquet", "--clusters", 2)
    four, two = (pd.read_parquet(tmp_path / f"{name}.parquet") for name in ("four", "two"))
    assert [name for name in map(str, two) if name.startswith("p_")] == ["p_1", "p_2"]
    # Tree: {0, 3}, {1, 4}, 2, 5 with 90, 70, 40, 10 cells; then 1 joins 0 and 5 joins 2: 1 + 2 and 3 + 4.
    assert np.allclose(two["p_1"], four["p_1"] + four["p_2"], atol=1e-6)
    assert "1 … 6" in refused(UsageError, model, BASELINE, "-o", tmp_path / "x.parquet", "--clusters", 9)


def test_a_file_without_events_makes_an_empty_table(model: Path, tmp_path: Path) -> None:
    file = open_fcs(BASELINE)
    write_fcs(tmp_path / "empty.fcs", np.empty((0, len(file.channels))), file.channels)
    result = done(model, tmp_path / "empty.fcs", "-o", tmp_path / "x.parquet")
    assert "empty.fcs has no events" in result.stderr
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert (len(table), list(table)[:4]) == (0, ["file", "event", "cluster", "probability"])


def test_gates_are_scored(model: Path, tmp_path: Path) -> None:
    result = done(model, BASELINE, STIM, "-o", tmp_path / "x.parquet", "--gates", "beside")
    gates = [pd.read_csv(file.with_suffix(".gates.csv"), skip_blank_lines=False) for file in (BASELINE, STIM)]
    truth = pd.concat(gates)["population"]
    codes, names = pd.factorize(truth, sort=True)
    expected = score(
        pd.read_parquet(tmp_path / "x.parquet")["cluster"].to_numpy(),
        GateLabels(codes.astype(np.int32), tuple(names)),
    )
    assert f"{expected.f_weighted:.4f}" in result.stdout
    assert f"{expected.ari:.4f}" in result.stdout


def test_values_that_are_not_finite_are_refused(model: Path, tmp_path: Path) -> None:
    file = open_fcs(BASELINE)
    values = file.read()
    values[7, [channel.index for channel in file.channels if "CD19" in channel.label]] = np.nan
    write_fcs(tmp_path / "bad.fcs", values, file.channels)
    assert "1 in CD19" in refused(InputError, model, tmp_path / "bad.fcs", "-o", tmp_path / "x.csv")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["bad.fcs"]


def test_outputs_that_exist_are_left_alone(model: Path, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("mine")
    assert "--force" in refused(OutputError, model, BASELINE, "-o", tmp_path / "x.csv")
    (tmp_path / f"{STIM.stem}.parquet").write_text("mine")
    # One of two tables is there, so neither is written.
    refused(OutputError, model, BASELINE, STIM, "-o", tmp_path)
    assert (tmp_path / "x.csv").read_text() == "mine"
    assert not (tmp_path / f"{BASELINE.stem}.parquet").exists()
    done(model, BASELINE, "-o", tmp_path / "x.csv", "--force")
    assert len(pd.read_csv(tmp_path / "x.csv")) == open_fcs(BASELINE).n_events


def test_inputs_are_never_written_over(model: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(BASELINE, tmp_path / "a.csv"))
    refused(UsageError, model, copy, "-o", copy, "--force")
    refused(UsageError, model, BASELINE, "-o", model / "x.csv")
    refused(UsageError, model, BASELINE, BASELINE, "-o", tmp_path / "x.csv")
    assert copy.read_bytes() == BASELINE.read_bytes()


def test_other_refusals(model: Path, tmp_path: Path) -> None:
    refused(UsageError, model, BASELINE, "-o", tmp_path / "x.xlsx")
    refused(ModelError, tmp_path / "none", BASELINE, "-o", tmp_path / "x.csv")
    refused(InputError, model, tmp_path / "none.fcs", "-o", tmp_path / "x.csv")
    result = CliRunner().invoke(
        app, ["assign", *map(str, (model, BASELINE, "-o", tmp_path / "x.csv")), "--device", "cuda:99"]
    )
    assert isinstance(result.exception, DeviceError)


# --- the real command ---


def process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cytovae", "assign", *map(str, arguments), "--device", "cpu", "--threads", "1"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def test_a_damaged_model_ends_with_five(model: Path, tmp_path: Path) -> None:
    shutil.copytree(model, tmp_path / "m")
    description = json.loads((tmp_path / "m" / "model.json").read_text())
    (tmp_path / "m" / "model.json").write_text(json.dumps(description | {"schema_version": 99}))
    ended = process(tmp_path / "m", BASELINE, "-o", tmp_path / "x.csv")
    _, said = ended.communicate(timeout=60)
    assert ended.returncode == 5
    assert said.startswith("error: ")
    assert "schema_version" in said
    assert said.count("\n") == 1


def test_a_closed_pipe_is_one_line(model: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = subprocess.run(
        [sys.executable, "-m", "cytovae", "assign", str(model), str(BASELINE), "-o", "-", "--device", "cpu"],
        stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
    )  # fmt: skip
    os.close(writing)
    assert ended.returncode == 141
    assert "Traceback" not in ended.stderr
    assert "Exception" not in ended.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_nothing_half_written(model: Path, tmp_path: Path, sent: signal.Signals, code: int) -> None:
    file = open_fcs(BASELINE)
    write_fcs(tmp_path / "long.fcs", np.tile(file.read(), (400, 1)), file.channels)
    (tmp_path / "out").mkdir()
    started = process(model, tmp_path / "long.fcs", "-o", tmp_path / "out" / "x.csv", preexec_fn=heed_all)
    until = time.monotonic() + 60
    while not list((tmp_path / "out").iterdir()) and started.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    started.send_signal(sent)
    _, said = started.communicate(timeout=60)
    assert started.returncode == code, said
    assert list((tmp_path / "out").iterdir()) == []
