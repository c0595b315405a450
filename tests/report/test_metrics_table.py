"""The tables beside a report, against a tree by hand and pandas."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib", reason="the report's extra is not installed")
pytest.importorskip("jinja2", reason="the report's extra is not installed")

from helpers.command import Command
from helpers.study import MARKERS, N_CLUSTERS, write_study

from cytovae.errors import OutputError, UsageError
from cytovae.events.transform import arcsinh
from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner, assign
from cytovae.model_folder.load import load_model
from cytovae.model_folder.record import read_record
from cytovae.report.collect import collect
from cytovae.report.content import ReportContent
from cytovae.report.metrics_table import separations, warnings_table
from cytovae.study.assign_study import open_assign_study

pytestmark = pytest.mark.slow

REPORT = Command(("report",), ("--device", "cpu", "--threads", "1", "--quiet"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def content(study: list[Path]) -> ReportContent:
    folder = study[0].parent / "model"
    saved = load_model(folder)
    files = [open_fcs(path) for path in study]
    return collect(open_assign_study(saved, files, Assigner(saved.model)), read_record(folder))


@pytest.fixture(scope="module")
def metrics(study: list[Path], tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("out")
    options = ("--gates", "beside", "-o", folder / "report.html", "--tables", folder / "tables")
    REPORT.done(study[0].parent / "model", *study, *options)
    assert sorted(path.name for path in (folder / "tables").iterdir()) == ["metrics.csv", "warnings.csv"]
    return pd.read_csv(folder / "tables" / "metrics.csv", dtype={"name": str}, keep_default_na=False)


def test_separations_of_a_tree_by_hand(content: ReportContent) -> None:
    """Levels 0.4, 0.3 and 0.1 join clusters 1 with 2 (experts 0, 1), 3 with 4 (experts 2, 3), and all."""
    tree = content.saved.model.tree
    np.testing.assert_allclose(separations(tree, 4), [0.6, 0.6, 0.7, 0.7], atol=1e-6)
    np.testing.assert_allclose(separations(tree, 3), [0.9, 0.7, 0.7], atol=1e-6)
    np.testing.assert_allclose(separations(tree, 2), [0.9, 0.9], atol=1e-6)
    assert np.isnan(separations(tree, 1)).all()


def test_metrics_equal_those_of_pandas(study: list[Path], metrics: pd.DataFrame) -> None:
    values = np.concatenate([arcsinh(open_fcs(path).read(), 5.0) for path in study])
    assignment = assign(load_model(study[0].parent / "model").model, values)
    cells = pd.DataFrame(values, columns=list(MARKERS))
    cells["cluster"], cells["p"] = assignment.cluster, assignment.probabilities.max(axis=1)
    cells["file"] = np.repeat([path.name for path in study], [open_fcs(path).n_events for path in study])
    found = metrics.set_index(["level", "name", "metric", "marker"])["value"].astype(float)
    assert not found.index.has_duplicates
    assert found["study", "", "cells", ""] == len(cells)
    assert found["study", "", "mean_probability", ""] == pytest.approx(cells["p"].mean(), rel=1e-6)
    for name, own in cells.groupby("file"):
        assert found["file", name, "cells", ""] == len(own)
        assert found["file", name, "share_low_probability", ""] == pytest.approx((own["p"] < 0.5).mean())
    for cluster, own in cells.groupby("cluster"):
        assert found["cluster", str(cluster), "share", ""] == pytest.approx(len(own) / len(cells))
        for marker in MARKERS:
            expected = own[marker].median()
            assert found["cluster", str(cluster), "median", marker] == pytest.approx(expected, abs=1e-5)
    named = metrics[metrics["level"] == "cluster"]["name"].unique().tolist()
    assert named == [str(number) for number in range(1, N_CLUSTERS + 1)]


def test_tables_replace_nothing(tmp_path: Path, study: list[Path]) -> None:
    model = study[0].parent / "model"
    (tmp_path / "metrics.csv").write_text("mine")
    assert "--force" in REPORT.refused(OutputError, model, study[1], "-o", tmp_path / "r.html", "--tables", tmp_path)
    page = tmp_path / "new" / "metrics.csv"
    page.parent.mkdir()
    assert "over the page" in REPORT.refused(UsageError, model, study[1], "-o", page, "--tables", page.parent)
    assert (tmp_path / "metrics.csv").read_text() == "mine"
    assert not page.exists()


def test_warnings_come_with_advice(content: ReportContent) -> None:
    assert warnings_table(content).num_rows == 0
    files = tuple(replace(file, n_high_novelty=file.n_cells // 10) for file in content.files)
    tree = content.saved.model.tree
    support = np.array([1, 1, 1, 0.7, 1, 1, 1], np.float32)  # the fourth merge, of experts 3 and 4, is cluster 4
    tree = replace(tree, support=support, expert_support=np.ones(8, np.float32))
    saved = replace(content.saved, model=replace(content.saved.model, tree=tree))
    table = warnings_table(replace(content, files=files, saved=saved)).to_pylist()
    assert [row["warning"] for row in table] == [
        "more than 5% of the cells are unlike those in training: sample & 0.fcs, sample & 1.fcs",
        "a cluster is not always found again (support below 0.75): 4",
    ]
    assert all(row["advice"].endswith(".") and "\n" not in row["advice"] for row in table)
