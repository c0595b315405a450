"""Which clusters are refined, what their parts are called, and which of their cells are drawn."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers.sample_model import FILES, merge_tree, write_model
from helpers.tiny_model import tiny_model

from cytovae.annotations.marker_table import PanelTypes
from cytovae.errors import UsageError
from cytovae.events.event_file import open_event_files
from cytovae.inference.assigner import Assigner
from cytovae.inference.refined import refined
from cytovae.inference.trained_model import TrainedModel
from cytovae.model_folder.load import load_model
from cytovae.naming.naming import Naming
from cytovae.study.assign_study import AssignStudy, open_assign_study
from cytovae.study.refine_study import clusters_to_refine, draw_cells_of_clusters


def named_model() -> TrainedModel:
    """Clusters 1, 2, 3 with the names B, T, B."""
    model = tiny_model().model
    of_cluster = ("B", "T", "B")
    nothing = np.full(3, np.nan, np.float32)
    types = PanelTypes((), model.markers, np.zeros((0, 3), np.float32), (), ())
    of_expert = tuple(of_cluster[cluster - 1] for cluster in model.expert_clusters.tolist())
    return replace(model, naming=Naming(of_expert, types, (), (), nothing, nothing))


def test_a_population_is_all_its_clusters_and_parts_keep_the_name() -> None:
    model = named_model()
    assert clusters_to_refine(model, (2,), ("b",)) == ((2,), (1, 3))
    once = refined(model, (1, 3), tiny_model(1).model)
    assert once.names is not None
    assert [once.names.of_cluster[number - 1] for number in (2, 4, 5, 6)] == ["T", "B", "B", "B"]
    assert clusters_to_refine(once, (), ("B",)) == ((4, 5, 6),)


@pytest.mark.parametrize(
    ("clusters", "populations", "found"),
    [((), (), "name what"), ((3,), ("B",), "cluster 3 is named twice"), ((), ("NK",), "no population 'NK', only B, T")],
)
def test_what_cannot_be_refined(clusters: tuple[int, ...], populations: tuple[str, ...], found: str) -> None:
    with pytest.raises(UsageError, match=found):
        clusters_to_refine(named_model(), clusters, populations)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> AssignStudy:
    folder: Path = tmp_path_factory.mktemp("model") / "m"
    saved = load_model(write_model(folder, merge_tree([0], [1], 0, [2, 1]), 2))
    return open_assign_study(saved, open_event_files(FILES), Assigner(saved.model))


def test_at_most_so_many_cells_of_the_cluster_are_drawn_over_all_files(study: AssignStudy) -> None:
    assigned = [Assigner(study.saved.model).assign(file.values()).cluster for file in study.files]
    number = int(np.bincount(np.concatenate(assigned)).argmax())
    n_cells = sum(int((cluster == number).sum()) for cluster in assigned)
    (every,) = draw_cells_of_clusters(study, [(number,)], seed=0, most=10**6)
    assert every.n_cells == len(every.cells) == n_cells
    (some,) = draw_cells_of_clusters(study, [(number,)], seed=0, most=300)
    assert (some.n_cells, len(some.cells)) == (n_cells, 300)
    for index, file in enumerate(study.files):
        rows = some.cells.event[some.cells.source == index]
        assert (np.diff(rows) > 0).all()
        assert (assigned[index][rows] == number).all()
        assert (some.cells.values[some.cells.source == index] == file.values_at(rows)).all()
    # Each cell is equally likely: the share of the first file is within four standard errors.
    share = (assigned[0] == number).sum() / n_cells
    assert abs((some.cells.source == 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / 300)


def test_events_that_fail_quality_control_are_not_drawn(study: AssignStudy) -> None:
    reasons = [np.arange(file.n_events) % 2 for file in study.files]
    quality: Any = SimpleNamespace(of_files=reasons)
    (drawn,) = draw_cells_of_clusters(replace(study, quality=quality), [(1, 2)], seed=0)
    assert (drawn.cells.event % 2 == 0).all()
    assert drawn.n_cells == sum(int((reason == 0).sum()) for reason in reasons)
