"""`cytovae refine` through the real app: populations inside a cluster, what does not split, and what is refused."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import Command
from numpy.typing import NDArray

import cytovae as cv
from cytovae.errors import InputError, OutputError, UsageError
from cytovae.fcs.channels import Channel
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs

pytestmark = pytest.mark.slow

REFINE = Command(("refine",), ("--device", "cpu", "--threads", "1"))
ASSIGN = Command(("assign",), ("--device", "cpu", "--threads", "1"))
LEVELS = np.array([[0, 0, 6, 6], [0, 6, 0, 6], [6, 0, 0, 0], [6, 6, 0, 0]])  # of four populations
SIZES = (600, 600, 600, 200)


@dataclass(frozen=True)
class Study:
    """A file of four populations, the population of each cell, a model in two clusters, and both of them refined."""

    file: Path
    kind: NDArray[np.int64]
    model: Path
    refined: Path
    said: str


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    folder = tmp_path_factory.mktemp("refine")
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(np.arange(4), SIZES))
    raw = 5 * np.sinh(LEVELS[kind] * 0.6 + rng.normal(0, 0.3, (len(kind), 4)))
    channels = tuple(Channel(index, f"Xx{index}Di", f"CD{index + 1}", 1000.0) for index in range(4))
    file = folder / "x.fcs"
    write_fcs(file, raw.astype(np.float32), channels)
    quick = {"experts": 12, "steps": 150, "views": 2, "support": 0, "umap_epochs": 50}
    model = cv.train(file, cofactor=5.0, clusters=2, generative=True, device="cpu", threads=1, settings=quick)
    cv.save_model(model, folder / "model")
    both = ("--cluster", 1, "--cluster", 2)
    said = REFINE.done(folder / "model", file, *both, "-o", folder / "refined").stderr
    return Study(file, kind, folder / "model", folder / "refined", said)


def test_clusters_of_several_populations_are_divided(study: Study, tmp_path: Path) -> None:
    file, refined = study.file, study.refined
    ASSIGN.done(study.model, file, "-o", tmp_path / "before.parquet")
    ASSIGN.done(refined, file, "-o", tmp_path / "after.parquet", "--tables", tmp_path / "tables")
    before, after = pd.read_parquet(tmp_path / "before.parquet"), pd.read_parquet(tmp_path / "after.parquet")
    columns = [name for name in after if name.startswith("p_")]
    whole = {f"p_{number}" for number in (1, 2)} & set(columns)  # of a cluster that does not split
    parts = [name for name in columns if name not in whole]
    assert len(parts) > 1
    assert parts == [f"p_{number}" for number in range(3, 3 + len(parts))]
    assert "cluster 1: " in study.said
    assert "split into 3, 4" in study.said
    # Sums of 1, and the law of total probability; float32.
    np.testing.assert_allclose(after[columns].sum(axis=1), 1, atol=1e-5)
    retired = [name for name in ("p_1", "p_2") if name not in whole]
    np.testing.assert_allclose(after[parts].sum(axis=1), before[retired].sum(axis=1), atol=1e-5)
    for population in range(4):  # each is nearly all of one cluster
        counts = after["cluster"][study.kind == population].value_counts()
        assert counts.iloc[0] > 0.95 * counts.sum()
    assert after["cluster"][np.unique(study.kind, return_index=True)[1]].nunique() == 4
    numbers = [int(name[2:]) for name in columns]
    for table in ("clusters.csv", "abundance.csv"):
        assert pd.read_csv(tmp_path / "tables" / table)["cluster"].tolist() == numbers

    ASSIGN.done(refined, file, "-o", tmp_path / "x.fcs")
    copy = open_fcs(tmp_path / "x.fcs")
    index = [channel.name for channel in copy.channels].index("cytovae_cluster")
    assert (copy.read([index])[:, 0] == after["cluster"]).all()
    ASSIGN.done(refined, file, "-o", tmp_path / "x.clr", "--format", "clr")
    classes = [name.replace("p_", "cluster_") for name in columns]
    assert list(pd.read_csv(tmp_path / "x.clr")) == classes

    Command(("generate",)).done(refined, "--cluster", 3, "--events", 50, "-o", tmp_path / "new.csv")
    assert len(pd.read_csv(tmp_path / "new.csv")) == 50


def test_a_population_does_not_split_and_small_clusters_are_refused(study: Study, tmp_path: Path) -> None:
    file, kind, refined = study.file, study.kind, study.refined
    ASSIGN.done(refined, file, "-o", tmp_path / "x.parquet")
    cluster = pd.read_parquet(tmp_path / "x.parquet")["cluster"]
    whole, small = (int(cluster[kind == population].mode()[0]) for population in (0, 3))
    said = REFINE.done(refined, file, "--cluster", whole, "-o", tmp_path / "same").stderr
    assert f"cluster {whole}: " in said
    assert "no split found, unchanged" in said
    assert (tmp_path / "same" / "model.json").read_bytes() == (refined / "model.json").read_bytes()
    found = REFINE.refused(InputError, refined, file, "--cluster", small, "-o", tmp_path / "no")
    assert f"cluster {small}: found {(cluster == small).sum()} cells, expected at least 500" in found
    assert not (tmp_path / "no").exists()


def test_what_is_refused(study: Study, tmp_path: Path) -> None:
    file, model = study.file, study.model
    for options, found in (
        ((), "name what to refine"),
        (("--cluster", 3), "no cluster 3"),
        (("--cluster", 1, "--cluster", 1), "twice"),
        (("--population", "B"), "knows no names"),
        (("--cluster", 1, "--parts", 1), "from 2 on"),
        (("--cluster", 1, "--parts", 3, "--types", file), "leave --parts out"),
    ):
        assert found in REFINE.refused(UsageError, model, file, *options, "-o", tmp_path / "x")
    for folder in (model, file.parent):
        assert "another output" in REFINE.refused(UsageError, model, file, "--cluster", 1, "-o", folder, "--force")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    assert "notes.txt" in REFINE.refused(OutputError, model, file, "--cluster", 1, "-o", tmp_path / "other", "--force")


def test_a_marker_table_divides_and_names(study: Study, tmp_path: Path) -> None:
    names = np.array(["A", "B", "C", "D"])
    rows = [",".join([name, *("+" if high else "-" for high in row)]) for name, row in zip(names, LEVELS, strict=True)]
    (tmp_path / "types.csv").write_text("\n".join(["population,CD1,CD2,CD3,CD4", *rows]))
    both = ("--cluster", 1, "--cluster", 2, "--types", tmp_path / "types.csv")
    said = REFINE.done(study.model, study.file, *both, "-o", tmp_path / "named").stderr
    assert "cluster 1: 1,400 cells, split into 3 (" in said
    assert "cluster 2: 600 cells, no split found (all of it " in said
    ASSIGN.done(tmp_path / "named", study.file, "-o", tmp_path / "x.parquet")
    cells = pd.read_parquet(tmp_path / "x.parquet")
    divided = cells["cluster"] != 2
    assert (cells["population"] == names[study.kind])[divided].mean() > 0.98
    assert (cells["population"][~divided] == "unknown").all()
