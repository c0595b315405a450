"""Models from Python: trained, assigned, saved and loaded, with the results of the commands."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command

import cytovae as cv
from cytovae.errors import OutputError, UsageError

SAMPLE = Path(__file__).parents[2] / "sample_data" / "donor1_baseline.fcs"
QUICK = {"steps": 150, "umap_epochs": 50, "experts": 12, "views": 2, "support": 2}
MARKERS = ["CD3", "CD19", "CD14"]


def blobs(n: int = 150, seed: int = 0) -> tuple[np.ndarray[Any, np.dtype[np.float64]], list[str]]:
    """Three populations, each with one marker high."""
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.normal(4 * np.eye(3)[kind], 0.3, (n, 3)) for kind in range(3)])
    return values, [MARKERS[kind] for kind in range(3) for _ in range(n)]


@pytest.fixture(scope="module")
def model() -> cv.Model:
    return cv.train(blobs()[0], markers=MARKERS, transform="none", seed=1, settings=QUICK)


def test_clusters_are_the_populations(model: cv.Model) -> None:
    values, names = blobs(seed=5)
    assigned = cv.assign(model, values, markers=MARKERS)
    assert cv.score(assigned, names).ari > 0.99
    assert assigned.probabilities.shape == (450, model.n_clusters)
    np.testing.assert_allclose(assigned.probabilities.sum(axis=1), 1, atol=1e-5)
    frame = assigned.to_frame()
    assert frame["event"].tolist() == list(range(450))
    assert frame["cluster"].tolist() == assigned.cluster.tolist()


def test_cells_of_another_order_of_columns_get_the_same_clusters(model: cv.Model) -> None:
    values, _ = blobs(seed=5)
    frame = pd.DataFrame(values[:, [2, 0, 1]], columns=["CD14", "CD3", "CD19"])
    expected = cv.assign(model, values, markers=MARKERS).cluster
    assert cv.assign(model, frame).cluster.tolist() == expected.tolist()


def test_a_model_is_saved_and_loaded(model: cv.Model, tmp_path: Path) -> None:
    values, _ = blobs(seed=5)
    saved = cv.save_model(model, tmp_path / "model")
    loaded = cv.load_model(saved)
    expected = cv.assign(model, values, markers=MARKERS)
    found = cv.assign(loaded, values, markers=MARKERS)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    with pytest.raises(OutputError, match="exists"):
        cv.save_model(model, tmp_path / "model")
    copied = cv.load_model(cv.save_model(loaded, tmp_path / "copy"))
    np.testing.assert_array_equal(cv.assign(copied, values, markers=MARKERS).cluster, expected.cluster)


def test_a_saved_model_is_one_for_the_command(model: cv.Model, tmp_path: Path) -> None:
    cv.save_model(model, tmp_path / "model")
    values, _ = blobs(seed=5)
    pd.DataFrame(values, columns=MARKERS).to_csv(tmp_path / "cells.csv", index=False)
    Command().done("assign", tmp_path / "model", tmp_path / "cells.csv", "-o", tmp_path / "out.csv")
    table = pd.read_csv(tmp_path / "out.csv")
    assert table["cluster"].tolist() == cv.assign(model, values, markers=MARKERS).cluster.tolist()


def test_the_number_of_clusters_can_be_chosen_afterwards(model: cv.Model, tmp_path: Path) -> None:
    two = model.with_clusters(2)
    assert two.n_clusters == 2
    assert cv.assign(two, blobs()[0], markers=MARKERS).cluster.max() == 2
    loaded = cv.load_model(cv.save_model(two, tmp_path / "two"))
    assert loaded.n_clusters == 2
    with pytest.raises(UsageError, match="another number of clusters"):
        cv.save_model(loaded.with_clusters(1), tmp_path / "one")


def test_labels_need_the_cells_they_belong_to() -> None:
    values, names = blobs(40)
    with pytest.raises(UsageError, match="read_cells"):
        cv.train(values, markers=MARKERS, labels=names)
    cells = cv.read_cells(values, markers=MARKERS, transform="none")
    with pytest.raises(UsageError, match="no effect"):
        cv.train(cells, transform="none")


@pytest.mark.slow
def test_a_marker_table_names_populations(tmp_path: Path) -> None:
    table = tmp_path / "types.csv"
    table.write_text(f"population,{','.join(MARKERS)}\nfirst,+{',-' * (len(MARKERS) - 1)}\n", encoding="utf-8")
    values, _ = blobs()
    model = cv.train(values, markers=MARKERS, transform="none", types=table, settings=QUICK)
    assert set(model.populations) == {"first", "unknown"}
    assigned = cv.assign(model, values, markers=MARKERS)
    assert assigned.population is not None
    positive = values[:, 0] > 2
    assert ((assigned.population == "first") == positive).mean() > 0.99
    frame = assigned.to_frame()
    assert frame["population"].tolist() == assigned.population.tolist()
    assert frame["population_probability"].between(0, 1).all()


def test_score_leaves_ungated_cells_out() -> None:
    """Worked by hand: two populations of two cells, one cell of T in the cluster of B."""
    report = cv.score([1, 1, 1, 2, 2], ["B", "B", "T", "T", None])
    assert report.n_gated == 4
    # B: 2 of 3 cells of cluster 1 -> F = 2*2/(2+3) = .8; T: 1 of 1 gated cell of cluster 2 -> F = 2*1/(2+1) = .667
    assert report.f1_mean == pytest.approx((0.8 + 2 / 3) / 2)


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = "import cytovae, sys; assert not {'torch', 'umap', 'numpy', 'pandas'} & set(sys.modules); cytovae.train"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=tmp_path)
    assert not {"Model", "train", "assign"} - set(dir(cv))
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = cv.trian
