"""``cytovae benchmark score``: from label files to tables and JSON."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from typer.testing import CliRunner

from cytovae.cells import UNGATED, GateLabels
from cytovae.cli.score import Scored, report_json, score_cli
from cytovae.errors import InputError, UsageError
from cytovae.metrics import score

METRICS = ["F_weighted", "F_weighted_clusters", "F1_mean", "ARI", "NMI", "accuracy"]
SHARED = Path(__file__).parents[3] / "shared" / "data"

app = typer.Typer()
app.command()(score_cli)


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    # population B: 6 cells, T: 4, one cell in no gate
    path = tmp_path / "sample.gates.csv"
    path.write_text("population\n" + "B\n" * 6 + "\n" + "T\n" * 4)
    return path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    # 4 of B in cluster 1, 2 in cluster 2; the ungated cell in 3; all of T in 2
    path = tmp_path / "labels.csv"
    path.write_text("cluster\n" + "1\n" * 4 + "2\n" * 2 + "3\n" + "2\n" * 4)
    return path


def run(*arguments: str | Path) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout, done.stderr


def test_json_contains_the_scores_computed_by_hand(labels: Path, gates: Path) -> None:
    # F(B,1) = 2·4/(6+4) = 0.8, F(T,2) = 2·4/(4+6) = 0.8; pairs together 13, by side 21 and 21, all 45
    stdout, stderr = run(labels, "--gates", gates, "--json")
    content = json.loads(stdout)
    assert stderr == ""
    assert content["schema_version"] == 1
    assert content["cells"] == {"n_cells": 11, "n_gated": 10, "n_ungated": 1, "n_unassigned": 0, "n_clusters": 3}
    assert list(content["metrics"]) == METRICS
    assert content["metrics"]["F_weighted"] == pytest.approx(0.8)
    assert content["metrics"]["F1_mean"] == pytest.approx(0.8)
    assert content["metrics"]["accuracy"] == pytest.approx(0.8)
    assert content["metrics"]["ARI"] == pytest.approx((13 - 9.8) / (21 - 9.8))
    assert [(found["name"], found["size"], found["cluster"]) for found in content["populations"]] == [
        ("B", 6, 1),
        ("T", 4, 2),
    ]
    assert content["populations"][0]["recall"] == pytest.approx(4 / 6)
    assert "cluster_names" not in content


def test_the_table_names_every_metric_and_population(labels: Path, gates: Path) -> None:
    stdout, stderr = run(labels, "--gates", gates)
    assert stderr == ""
    rows = [line.split() for line in stdout.splitlines() if line.strip()]
    first_words = [row[0] for row in rows]
    assert [word for word in first_words if word in METRICS] == METRICS
    values = {row[0]: row[1] for row in rows if row[0] in METRICS}
    assert values["F_weighted"] == "0.8000"
    assert ["B", "6", "1", "1.000", "0.667", "0.800"] in rows
    assert ["T", "4", "2", "0.667", "1.000", "0.800"] in rows
    assert "11 cells in 3 clusters, 10 gated" in stdout
    assert "1 ungated" in stdout


def test_table_and_json_agree(labels: Path, gates: Path) -> None:
    metrics = json.loads(run(labels, "--gates", gates, "--json")[0])["metrics"]
    table = run(labels, "--gates", gates)[0]
    for name, value in metrics.items():
        assert [name, f"{value:.4f}"] in [line.split() for line in table.splitlines()]


def test_unassigned_cells_are_counted_and_a_zero_label_is_warned_of(tmp_path: Path, gates: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("cluster\n" + "0\n" * 6 + "1\n" + "2\n" * 4)
    stdout, stderr = run(path, "--gates", gates)
    assert "6 gated but unassigned" in stdout
    assert "0 means unassigned" in stderr
    assert ["B", "6", "none", "–", "–", "–"] in [line.split() for line in stdout.splitlines()]
    content = json.loads(run(path, "--gates", gates, "--json")[0])
    assert content["cells"]["n_unassigned"] == 6
    assert content["populations"][0]["cluster"] is None


def test_clusters_keep_their_names(tmp_path: Path, gates: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("label\n" + "[red]\n" * 6 + "unassigned\n" + "blue\n" * 4)
    stdout, _ = run(path, "--gates", gates)
    assert ["B", "6", "[red]", "1.000", "1.000", "1.000"] in [line.split() for line in stdout.splitlines()]
    content = json.loads(run(path, "--gates", gates, "--json")[0])
    assert [content["cluster_names"][found["cluster"] - 1] for found in content["populations"]] == ["[red]", "blue"]


def test_labels_that_are_names_of_gates_are_scored_by_name(tmp_path: Path, gates: Path) -> None:
    path = tmp_path / "named.csv"
    path.write_text("cluster,population\n" + "1,b\n" * 5 + "1,T\n" + "2,unknown\n" + "2,T\n" * 4)
    content = json.loads(run(f"{path}:population", "--gates", gates, "--json")[0])
    # F1 of B: 2·5/(6+5), of T: 2·4/(4+5)
    assert content["metrics"]["accuracy_by_name"] == pytest.approx(0.9)
    assert content["metrics"]["macro_F1_by_name"] == pytest.approx((10 / 11 + 8 / 9) / 2)
    assert "accuracy_by_name" not in run(path, "--gates", gates)[0]


def test_long_names_are_not_cut(tmp_path: Path) -> None:
    name = "CD4+ CD45RA- CD27+ CCR7+ CD127high CD25low central memory T helper lymphocytes of the second donor"
    (tmp_path / "long.gates.csv").write_text(f"population\n{name}\nB\n")
    (tmp_path / "labels.csv").write_text("cluster\n1\n2\n")
    stdout, _ = run(tmp_path / "labels.csv", "--gates", tmp_path / "long.gates.csv")
    assert all(word in stdout for word in name.split())


def test_another_column_can_be_named(tmp_path: Path, gates: Path) -> None:
    path = tmp_path / "labels.parquet"
    perfect = [1] * 6 + [3] + [2] * 4
    pd.DataFrame({"cluster": [1] * 11, "leiden": perfect}).to_parquet(path)
    assert json.loads(run(path, "--gates", gates, "--json")[0])["metrics"]["ARI"] == 0.0
    assert json.loads(run(path, "--gates", gates, "--json", "--channel", "leiden")[0])["metrics"]["ARI"] == 1.0


def test_several_files_are_scored_together(tmp_path: Path) -> None:
    for name, populations in (("a", "B\nT\n"), ("b", "T\n\nB\n")):
        (tmp_path / f"{name}.gates.csv").write_text(f"population\n{populations}")
    table = pd.DataFrame(
        {"file": ["b.fcs"] * 3 + ["a.fcs"] * 2 + ["c.fcs"], "event": [2, 0, 1, 0, 1, 0], "cluster": [5, 6, 5, 5, 6, 7]}
    )
    table.to_parquet(tmp_path / "labels.parquet")
    both = ("--gates", tmp_path / "a.gates.csv", "--gates", tmp_path / "b.gates.csv")
    stdout, stderr = run(tmp_path / "labels.parquet", *both, "--json")
    content = json.loads(stdout)
    assert content["cells"] == {"n_cells": 5, "n_gated": 4, "n_ungated": 1, "n_unassigned": 0, "n_clusters": 2}
    assert content["metrics"]["ARI"] == 1.0
    assert "1 labels belong to other files" in stderr


def test_several_methods_are_scored_side_by_side(tmp_path: Path, labels: Path, gates: Path) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"cluster": ["b"] * 6 + [None] + ["t"] * 4, "leiden": [1] * 11}).to_parquet(other)
    stdout, stderr = run(labels, other, f"{other}:leiden", "--gates", gates, "--json")
    content = json.loads(stdout)
    assert stderr == ""
    assert content["schema_version"] == 1
    found = {entry["labels"]: entry for entry in content["labels"]}
    assert list(found) == ["labels.csv", "other.parquet", "other.parquet:leiden"]
    alone = json.loads(run(labels, "--gates", gates, "--json")[0])
    assert found["labels.csv"]["metrics"] == alone["metrics"]
    assert [entry["metrics"]["ARI"] for entry in content["labels"][1:]] == [1.0, 0.0]
    assert found["other.parquet"]["cluster_names"] == ["b", "t"]
    rows = [line.split() for line in run(labels, other, "--gates", gates)[0].splitlines()]
    assert ["labels.csv", "other.parquet"] in rows
    assert ["F_weighted", "0.8000", "1.0000"] in rows
    assert ["B", "6", "0.800", "(1)", "1.000", "(b)"] in rows


def test_gates_of_a_folder_are_named_once(tmp_path: Path) -> None:
    (tmp_path / "gates").mkdir()
    for name, populations in (("a", "B\nT\n"), ("b", "T\n\nB\n")):
        (tmp_path / "gates" / f"{name}.gates.csv").write_text(f"population\n{populations}")
    table = pd.DataFrame({"file": ["b.fcs"] * 3 + ["a.fcs"] * 2, "cluster": [5, 6, 6, 6, 5]})
    table.to_csv(tmp_path / "gates" / "labels.csv", index=False)
    for spec in (tmp_path / "gates", "beside"):
        content = json.loads(run(tmp_path / "gates" / "labels.csv", "--gates", spec, "--json")[0])
        assert (content["cells"]["n_gated"], content["metrics"]["ARI"]) == (4, 1.0)


def test_rows_that_do_not_fit_are_refused_with_both_numbers(tmp_path: Path, gates: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("cluster\n1\n2\n")
    with pytest.raises(InputError, match="2 labels, expected 11"):
        run(path, "--gates", gates)


def test_gates_without_a_gated_cell_are_refused(tmp_path: Path) -> None:
    (tmp_path / "none.gates.csv").write_text("population\n\n\n")
    (tmp_path / "labels.csv").write_text("cluster\n1\n2\n")
    with pytest.raises(UsageError, match="none of the 2 cells is gated"):
        run(tmp_path / "labels.csv", "--gates", tmp_path / "none.gates.csv")


def test_gates_must_be_given(labels: Path) -> None:
    done = CliRunner().invoke(app, [str(labels)])
    assert done.exit_code == 2
    assert "--gates" in done.stderr


def test_json_is_the_same_text_for_the_same_report() -> None:
    report = score(np.array([1, 2, 2]), GateLabels(np.array([0, 0, UNGATED], dtype=np.int32), ("Ä",)))
    assert report_json([Scored("a", report)]) == report_json([Scored("a", report)])
    assert "Ä" in report_json([Scored("a", report)])


def test_scoring_loads_no_network_and_no_umap(labels: Path, gates: Path) -> None:
    program = (
        "import sys; from cytovae.cli.score import score_cli; score_cli([sys.argv[1]], [sys.argv[2]], None, True); "
        "print([name for name in ('torch', 'umap', 'sklearn', 'numba', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(labels), str(gates)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_command_is_registered_and_refuses_with_its_exit_code(tmp_path: Path, gates: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "cytovae",
        "benchmark",
        "score",
        str(tmp_path / "absent.csv"),
        "--gates",
        str(gates),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("error: ")
    assert "absent.csv: labels: found no such file" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not SHARED.is_dir(), reason="the folder of public data sets is not beside this checkout")
def test_gates_of_a_public_file_score_as_scikit_learn_says(tmp_path: Path) -> None:
    population = pd.read_csv(SHARED / "flowsom_ff.gates.csv", skip_blank_lines=False)["population"]
    cluster = np.random.default_rng(0).integers(1, 9, len(population))
    cluster = np.where(population == population.mode()[0], 9, cluster)
    pd.DataFrame({"cluster": cluster}).to_csv(tmp_path / "labels.csv", index=False)
    content = json.loads(run(tmp_path / "labels.csv", "--gates", SHARED / "flowsom_ff.fcs", "--json")[0])
    gated = population.notna()
    assert (content["cells"]["n_cells"], content["cells"]["n_gated"]) == (19225, 13671)
    assert content["metrics"]["ARI"] == pytest.approx(adjusted_rand_score(population[gated], cluster[gated]), abs=1e-9)
    expected = normalized_mutual_info_score(population[gated], cluster[gated])
    assert content["metrics"]["NMI"] == pytest.approx(expected, abs=1e-9)
