"""Training with a marker table: the names of the clusters, and that a model folder keeps them."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from cytovae.annotations.marker_table import PanelTypes, parse_marker_table, types_of_panel
from cytovae.cells import CellTable
from cytovae.errors import ModelError, UsageError
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.inference.assigner import assign
from cytovae.inference.trained_model import Learning, SavedModel
from cytovae.model_folder.layout import DESCRIPTION, RunRecord
from cytovae.model_folder.load import load_model
from cytovae.model_folder.save import save_model
from cytovae.settings import Settings, preset
from cytovae.study.train_model import train_model

pytestmark = pytest.mark.slow  # trains a model

MARKERS = ("CD3", "CD4", "CD8", "CD19")
NAMES = ("CD4 T", "CD8 T", "B", "none")
TABLE = "population,CD3,CD4,CD8,CD19,CD45RA\nCD4 T,+,+,-,-,\nCD8 T,+,-,+,-,\nB,-,-,-,+,\nDP,+,+,+,-,\n"
SMALL = Settings(
    experts=16, code=4, encoder_depth=1, encoder_width=32, clustering_width=32, expert_width=8, batch=128, steps=300,
    umap_epochs=60,
    views=3,
    support=3,
)  # fmt: skip


def types() -> PanelTypes:
    return types_of_panel(
        parse_marker_table(TABLE.replace(",CD45RA", "").replace(",\n", "\n"), Path("t")), MARKERS, Path("t")
    )


@cache
def cells() -> tuple[CellTable, tuple[str, ...]]:
    """Cells of four kinds, 0.4 wide; the last has none of the markers."""
    rng = np.random.default_rng(0)
    kind = rng.permutation(np.repeat(np.arange(4), (400, 250, 200, 150)))
    centres = np.array([[4, 4, 0, 0], [4, 0, 5, 0], [0, 0, 0, 4], [0, 0, 0, 0]])
    values = (centres[kind] + rng.normal(0, 0.4, (len(kind), 4))).astype(np.float32)
    table = CellTable(values, MARKERS, ("cells.fcs",), np.zeros(len(kind), np.int32), np.arange(len(kind)))
    return table, tuple(NAMES[index] for index in kind)


@cache
def learned() -> Learning:
    return train_model(cells()[0], SMALL, seed=0, types=types())


def test_clusters_have_the_names_of_their_cells() -> None:
    table, truth = cells()
    model = learned().model
    assert model.names is not None
    assert model.naming is not None
    cluster = assign(model, table.values).cluster
    found = [model.names.of_cluster[number - 1] for number in cluster]
    expected = ["unknown" if name == "none" else name for name in truth]
    assert np.mean([a == b for a, b in zip(found, expected, strict=True)]) >= 0.97
    assert model.naming.not_found == ("DP",)
    assert sorted(each.name for each in model.naming.evidence) == ["B", "CD4 T", "CD8 T"]


def test_training_with_names_takes_its_own_number_of_steps() -> None:
    settings = replace(SMALL, steps=20, named_steps=1.5)
    assert train_model(cells()[0], settings, seed=0).history[-1].step == 20
    assert train_model(cells()[0], settings, seed=0, types=types()).history[-1].step == 30


def saved_in(folder: Path) -> Path:
    panel = Panel(tuple(Marker(name, name, 5.0) for name in MARKERS))
    saved = SavedModel(learned().model, panel, Transform("arcsinh", panel.cofactors))
    save_model(folder / "model", saved, learned(), cells()[0], RunRecord((), 0, "cpu", (), {}))
    return folder / "model"


def test_a_model_folder_keeps_names_and_evidence(tmp_path: Path) -> None:
    before, after = learned().model, load_model(saved_in(tmp_path)).model
    assert after.names == before.names
    assert before.naming is not None
    assert after.naming is not None
    assert after.naming.evidence == before.naming.evidence
    assert after.naming.not_found == before.naming.not_found
    assert after.naming.types.populations == before.naming.types.populations
    np.testing.assert_array_equal(after.naming.types.levels, before.naming.types.levels)
    np.testing.assert_array_equal(after.naming.low, before.naming.low)


def test_damaged_names_are_refused(tmp_path: Path) -> None:
    path = saved_in(tmp_path) / DESCRIPTION
    path.write_text(path.read_text(encoding="utf-8").replace('"of_expert": [', '"of_expert": [1, '), encoding="utf-8")
    with pytest.raises(ModelError, match=r"naming\.of_expert"):
        load_model(path.parent)


def test_a_coarser_cut_has_the_name_of_most_cells() -> None:
    model = learned().model
    coarse = model.with_clusters(2)
    assert coarse.names is not None
    assert set(coarse.names.of_cluster) <= {*NAMES[:3], "unknown"}
    assert len(coarse.names.of_cluster) == 2


def test_a_table_does_not_go_with_a_number_of_clusters_or_a_preset_without_a_tree() -> None:
    with pytest.raises(UsageError, match="--clusters"):
        train_model(cells()[0], SMALL, seed=0, types=types(), n_clusters=3)
    paper = replace(preset("paper-weber"), steps=1)
    with pytest.raises(UsageError, match="no tree"):
        train_model(cells()[0], paper, seed=0, types=types())
