"""Training with labels: names in other files, cells unlike anything labelled, and what the model folder keeps."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cytovae.cells import UNGATED, CellTable, GateLabels
from cytovae.errors import ModelError
from cytovae.events.panel import Marker, Panel
from cytovae.events.transform import Transform
from cytovae.inference.assigner import Assigner
from cytovae.inference.trained_model import Learning, SavedModel, TrainedModel
from cytovae.model_folder.layout import DESCRIPTION, RunRecord
from cytovae.model_folder.load import load_model
from cytovae.model_folder.save import save_model
from cytovae.settings import Settings
from cytovae.study.train_model import train_model

pytestmark = pytest.mark.slow  # trains a model

MARKERS = ("CD3", "CD4", "CD8", "CD19")
CENTRES = {"CD4 T": (4, 4, 0, 0), "CD8 T": (4, 0, 4, 0), "B": (0, 0, 0, 4), "none": (0, 0, 0, 0), "DP": (4, 4, 4, 0)}
SMALL = Settings(
    experts=24, code=4, encoder_depth=1, encoder_width=32, clustering_width=32, expert_width=8, batch=128, steps=400,
    umap_epochs=60, views=1, support=0,
)  # fmt: skip


def cells(seed: int, names: tuple[str, ...], shift: float = 0.0) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
    """Cells of these populations, 400, 250, 200 and 150, 0.4 wide; every marker is shifted in another direction."""
    rng = np.random.default_rng(seed)
    truth = rng.permutation(np.repeat(names, (400, 250, 200, 150)[: len(names)]))
    centre = np.array([CENTRES[name] for name in truth])
    away = shift * rng.choice([-1, 1], len(MARKERS))
    return (centre + away + rng.normal(0, 0.4, centre.shape)).astype(np.float32), truth


@cache
def learned() -> Learning:
    """From a file in which every fifth cell has its label, and those of "none" never have."""
    values, truth = cells(0, ("CD4 T", "CD8 T", "B", "none"))
    names = ("B", "CD4 T", "CD8 T")
    told = (np.arange(len(truth)) % 5 == 0) & (truth != "none")
    index = np.array([names.index(name) if name in names else UNGATED for name in truth], dtype=np.int32)
    table = CellTable(values, MARKERS, ("cells.fcs",), np.zeros(len(truth), np.int32), np.arange(len(truth)))
    return train_model(table, SMALL, seed=0, labels=GateLabels(np.where(told, index, UNGATED), names))


def test_training_with_labels_takes_its_own_number_of_steps() -> None:
    assert learned().history[-1].step == SMALL.named_steps * SMALL.steps


def populations(model: TrainedModel, values: NDArray[np.float32]) -> NDArray[np.str_]:
    assert model.names is not None
    assert model.naming is not None
    assert model.naming.novelty_limit is not None
    assigned = Assigner(model).assign(values)
    assert assigned.novelty is not None
    names = np.array(model.names.of_cluster, dtype="U9")[assigned.cluster - 1]
    names[assigned.novelty > model.naming.novelty_limit] = "unknown"
    return names


def test_novelty_is_relative_to_the_file_and_clusters_are_not() -> None:
    """Levels of all populations differ by 0.6. Cells of a new population stay unlike the others of their file."""
    model = learned().model
    values, _ = cells(4, ("CD4 T", "CD8 T", "B"), shift=0.6)
    new, _ = cells(5, ("DP",))
    alone, whole = Assigner(model), np.concatenate([values, new])
    assert alone.depends_on_file
    absolute, relative = alone.assign(whole), alone.for_file(whole).assign(whole)
    assert (absolute.cluster == relative.cluster).all()
    assert (absolute.probabilities == relative.probabilities).all()
    assert absolute.novelty is not None
    assert relative.novelty is not None
    assert (relative.novelty <= absolute.novelty).all()
    limit = model.naming.novelty_limit if model.naming is not None else None
    assert limit is not None
    unknown = [(of.novelty[: len(values)] > limit).mean() for of in (absolute, relative)]
    assert unknown[1] < min(0.1, unknown[0])
    assert (relative.novelty[len(values) :] > limit).mean() > 0.9


def test_names_are_found_in_another_file_with_shifted_levels() -> None:
    """All populations, of which one never had a label. Clouds 4 apart and 0.4 wide do not overlap."""
    values, truth = cells(1, ("CD4 T", "CD8 T", "B", "none"), shift=0.2)
    found = populations(learned().model, values)
    for name in ("CD4 T", "CD8 T", "B"):
        assert (found[truth == name] == name).mean() > 0.9
    assert (found[truth == "none"] == "unknown").mean() > 0.9


def test_cells_unlike_anything_labelled_are_unknown() -> None:
    values, _ = cells(2, ("DP",))
    assert (populations(learned().model, values) == "unknown").mean() > 0.9


def saved() -> SavedModel:
    panel = Panel(tuple(Marker(name, name, 5.0) for name in MARKERS))
    return SavedModel(learned().model, panel, Transform("none", panel.cofactors))


def test_a_model_folder_keeps_names_and_limit(tmp_path: Path) -> None:
    values, _ = cells(3, ("CD4 T", "DP"))
    learning_cells, _ = cells(0, ("CD4 T", "CD8 T", "B", "none"))
    n = len(learning_cells)
    table = CellTable(learning_cells, MARKERS, ("x.fcs",), np.zeros(n, np.int32), np.arange(n))
    save_model(tmp_path / "m", saved(), learned(), table, RunRecord((), 0, "cpu", (), {}))
    model = load_model(tmp_path / "m").model
    assert (populations(model, values) == populations(learned().model, values)).all()
    assert model.naming is not None
    assert dict(model.naming.labelled).keys() == {"B", "CD4 T", "CD8 T"}
    assert model.naming.usual_novelty == learned().model.naming.usual_novelty  # type: ignore[union-attr]
    description = tmp_path / "m" / DESCRIPTION
    description.write_text(description.read_text().replace('"novelty_limit": 0.3', '"novelty_limit": 5'))
    with pytest.raises(ModelError, match="novelty_limit"):
        load_model(tmp_path / "m")
