"""Cells to a trained model: the stages in order."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.annotations.marker_table import PanelTypes
from cytovae.cells import CellTable, GateLabels, check_assignment
from cytovae.errors import NumericalError, UsageError
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import MOST_MARKERS, CellDistribution, fit_distribution
from cytovae.inference.novelty import fit_novelty
from cytovae.inference.trained_model import Learning, TrainedModel
from cytovae.model_folder.checkpoint import Checkpoint
from cytovae.naming.labelled_tree import LabelledTree, label_tree, names_by_majority
from cytovae.naming.named_tree import NamedTree, name_tree
from cytovae.naming.naming import Naming
from cytovae.naming.populations_by_table import CellsAround
from cytovae.network.device import ENCODER_CHUNK
from cytovae.network.label_task import LabelTask, label_task
from cytovae.network.model import MoeSimVae
from cytovae.network.scaling import Scaling, fit_scaling
from cytovae.network.training_loop import ProgressRecord, build_network, train
from cytovae.populations.expert_merges import keep_experts, merge_experts
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.neighbors import Neighbors, nearest_neighbors
from cytovae.populations.population_tree import Pool, PopulationTree, population_tree, small_views
from cytovae.populations.similarity import Similarity, draw_weight, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import LARGEST_SEED, Settings
from cytovae.study.sampling import choose_landmarks

FEWEST_MARKERS = 2  # UMAP projects to two dimensions
FEWEST_CELLS = 50  # fewer cells have no meaningful neighbourhoods

Progress = Callable[[str, int, int], None]


def train_model(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    labels: GateLabels | None = None,
    types: PanelTypes | None = None,
    around: CellsAround | None = None,
    n_clusters: int | None = None,
    workers: int = 1,
    progress: Progress = lambda _stage, _done, _total: None,
    kept: Checkpoint | None = None,
) -> Learning:
    """Choose landmarks, find populations among them, and train the network on both.

    Parameters
    ----------
    cells : CellTable
        Transformed cells, at least 50.
    settings : Settings
        Settings of the model.
    seed : int
        Seed of everything that is random.
    device : str
        Device of the neighbours and the network.
    labels : GateLabels, optional
        Known labels of the cells, −1 = not labelled. They name populations, and decide where the merge tree is cut.
    types : PanelTypes, optional
        A marker table for the markers of ``cells``. It decides where the merge tree is cut, and names populations.
    around : CellsAround, optional
        Other cells, which tell what a low and a high level is if ``cells`` are those of one cluster.
    n_clusters : int, optional
        Where to cut the merge tree. Default: where the data suggest it.
    workers : int
        Number of threads that find neighbours; with two or more, worker processes compute small views.
    progress : callable
        Receives stage, steps done and steps in total.
    kept : Checkpoint, optional
        Where finished stages are kept. Stages that it already has are not repeated.

    Raises
    ------
    UsageError
        If there are too few cells, or more clusters than experts.
    NumericalError
        If training diverges.
    """
    _check(cells, settings, seed, labels, n_clusters, types)
    stages = _Stages(progress, kept)
    of_cells = None if labels is None else labels.population
    (rows,) = stages.kept("landmarks", lambda: (choose_landmarks(len(cells), settings.landmarks, seed, of_cells),))
    values = cells.values[rows]  # (n, m)
    coordinates, tree = _find_populations(cells, rows, settings, seed, device, workers, stages)  # (n, 2)
    named = _use_table(tree, values, types, around, settings, stages)
    tree = tree if named is None else named.tree
    labelled = _use_labels(tree, values, labels, rows, named, settings, stages)
    by_name = named is not None or labelled is not None
    tree, owner = (tree, []) if labelled is None else (labelled.tree, labelled.owner(settings.experts))

    with stages.timed("training"):
        known = _for_similarity(labels, rows, labelled, settings)
        similarity = make_similarity(coordinates, settings, seed=seed, tree=tree, labels=known, device=device)
        scaling = fit_scaling(values)
        x = torch.tensor(scaling.scale(values), device=device)  # (n, m) in [0, 1]
        task = None if labelled is None else label_task(x, labelled.population, owner, labelled.prior)
        network, history = _train_network(x, similarity, settings, seed, stages, task, named=by_name)
        probabilities = _assign(network, x, labelled, owner)  # (n, experts)
        novelty = fit_novelty(network, x)
        distribution = _distribution(network, scaling, values, settings)

    merges = keep_experts(probabilities) if tree is None else merge_experts(probabilities, tree, named=by_name)
    naming = _naming(named, labelled, labels, rows, owner, probabilities, merges, cells.markers)
    model = TrainedModel(
        network.cpu(), settings, cells.markers, scaling, merges, merges.n_found, novelty, distribution, naming
    )
    model = _with_usual_novelty(model if n_clusters is None else model.with_clusters(n_clusters), values)
    return Learning(model, rows, coordinates, *_checked(model, values), tuple(history), stages.seconds())


def learn(cells: CellTable, settings: Settings, **options: Any) -> TrainedModel:
    """The model alone, without its history; see :func:`train_model`."""
    return train_model(cells, settings, **options).model


def _check(
    cells: CellTable,
    settings: Settings,
    seed: int,
    labels: GateLabels | None,
    n_clusters: int | None,
    types: PanelTypes | None,
) -> None:
    _check_types(types, settings, n_clusters)
    if not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"the seed must be at least 0 and at most {LARGEST_SEED}, not {seed}")
    if len(cells.markers) < FEWEST_MARKERS:
        raise UsageError(
            f"training needs at least {FEWEST_MARKERS} markers, there is one: {', '.join(cells.markers)}; "
            "a single marker needs a threshold, not clusters"
        )
    if len(cells) < FEWEST_CELLS:
        raise UsageError(f"training needs at least {FEWEST_CELLS} cells, there are {len(cells)}")
    if labels is not None and len(labels) != len(cells):
        raise UsageError(f"{len(labels)} labels do not fit {len(cells)} cells")
    if n_clusters is not None and not 1 <= n_clusters <= settings.experts:
        raise UsageError(f"{n_clusters} clusters cannot be made of {settings.experts} experts; use more --experts")


def _check_types(types: PanelTypes | None, settings: Settings, n_clusters: int | None) -> None:
    """Raise :class:`UsageError` if a marker table cannot decide where the tree is cut."""
    if types is None:
        return
    if n_clusters is not None:
        raise UsageError("a marker table decides the number of clusters; leave --clusters out")
    if settings.resolution != "merge":
        raise UsageError(f"preset {settings.preset} merges no experts, so a marker table has no tree to cut")


def _find_populations(
    cells: CellTable,
    rows: NDArray[np.int64],
    settings: Settings,
    seed: int,
    device: str,
    workers: int,
    stages: "_Stages",
) -> tuple[NDArray[np.float32], PopulationTree | None]:
    """UMAP coordinates (n, 2) of the landmarks, and the tree of their micro-clusters.

    The tree is None with settings in which every expert is a cluster.
    """
    values, source = cells.values[rows], cells.source[rows]
    if settings.resolution != "merge":
        return _project(values, settings, seed, device, workers, stages), None
    pool = Pool(cells.values, cells.source)
    # Worker processes compute small views while the landmarks are projected.
    with small_views(values, source, settings, seed=seed, pool=pool, workers=workers) as small:
        coordinates = _project(values, settings, seed, device, workers, stages)
        with stages.timed("merging"):
            return coordinates, population_tree(values, coordinates, source, settings, seed=seed, small=small)


def _project(
    values: NDArray[np.float32], settings: Settings, seed: int, device: str, workers: int, stages: "_Stages"
) -> NDArray[np.float32]:
    """UMAP coordinates (n, 2) of the landmarks, from their exact neighbours."""
    n_neighbors = min(settings.umap_neighbors, len(values))

    def find() -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        found = nearest_neighbors(values, n_neighbors, settings.metric, device, workers=workers)
        if not np.isfinite(found.distances).all():
            raise NumericalError(
                "distances between cells are not finite, values are too large; transform them (--transform arcsinh), "
                "or leave the marker out with --exclude (`cytovae inspect` shows the ranges)"
            )
        return found.indices, found.distances

    neighbors = Neighbors(*stages.kept("neighbours", find))
    (coordinates,) = stages.kept("umap", lambda: (umap_projection(values, neighbors, settings, seed),))
    return coordinates


def _use_table(
    tree: PopulationTree | None,
    values: NDArray[np.float32],
    types: PanelTypes | None,
    around: CellsAround | None,
    settings: Settings,
    stages: "_Stages",
) -> NamedTree | None:
    """The tree cut by a marker table, None without one."""
    if types is None or tree is None:
        return None
    with stages.timed("naming"):
        return name_tree(tree, values, types, settings.experts, around)


def _use_labels(
    tree: PopulationTree | None,
    values: NDArray[np.float32],
    labels: GateLabels | None,
    rows: NDArray[np.int64],
    named: NamedTree | None,
    settings: Settings,
    stages: "_Stages",
) -> LabelledTree | None:
    """The tree cut between labelled populations; None without labels, or without a tree."""
    if labels is None or tree is None:
        return None
    with stages.timed("labels"):
        of_landmarks = labels.population[rows].astype(np.int64)
        return label_tree(tree, values, of_landmarks, labels.names, settings.experts, named)


def _naming(
    named: NamedTree | None,
    labelled: LabelledTree | None,
    labels: GateLabels | None,
    rows: NDArray[np.int64],
    owner: list[int],
    probabilities: NDArray[np.float32],
    merges: MergeTree,
    markers: tuple[str, ...],
) -> Naming | None:
    """The names of the experts, from labels, else from a marker table; None without both."""
    if labelled is not None:
        return labelled.naming(owner, markers)
    if labels is not None:
        return names_by_majority(probabilities, labels.population[rows], labels.names, markers)
    return None if named is None else named.naming(probabilities, merges)


def _with_usual_novelty(model: TrainedModel, values: NDArray[np.float32]) -> TrainedModel:
    """The model, which knows how novel the landmarks ``values`` (n, m) usually are if it learned labels."""
    naming = model.naming
    if naming is None or naming.novelty_limit is None:
        return model
    return replace(model, naming=replace(naming, usual_novelty=Assigner(model).usual_novelty(values)))


def _for_similarity(
    labels: GateLabels | None, rows: NDArray[np.int64], labelled: LabelledTree | None, settings: Settings
) -> NDArray[np.int64] | None:
    """The labels (n,) of the landmarks that decide S by themselves; None where micro-clusters follow the labels."""
    if labels is None or (labelled is not None and settings.similarity == "partition"):
        return None
    return labels.population[rows].astype(np.int64)


def _train_network(
    x: torch.Tensor,
    similarity: Similarity,
    settings: Settings,
    seed: int,
    stages: "_Stages",
    task: LabelTask | None,
    *,
    named: bool,
) -> tuple[MoeSimVae, list[ProgressRecord]]:
    settings = replace(settings, steps=round(settings.named_steps * settings.steps)) if named else settings
    network = build_network(x.shape[1], settings, seed, strangers=task is not None).to(x.device)
    history = []
    weight = draw_weight(similarity)
    # With names, a rare population counts as much as a common one, and stays as likely as it was drawn.
    for record in train(
        network, x, similarity, weight, settings, seed, stages.checkpoint, task=task, correct=not named
    ):
        history.append(record)
        stages.progress("training", record.step, settings.steps)
    return network.eval(), history


def _assign(
    network: MoeSimVae, x: torch.Tensor, labelled: LabelledTree | None, owner: list[int]
) -> NDArray[np.float32]:
    """Probabilities (n, experts) of scaled landmarks ``x`` (n, m); with labels, within what these say."""
    with torch.inference_mode():
        chunks = [network.assign(x[start : start + ENCODER_CHUNK]) for start in range(0, len(x), ENCODER_CHUNK)]
        probabilities: NDArray[np.float32] = torch.cat(chunks).cpu().numpy()
    return probabilities if labelled is None else labelled.within(probabilities, owner)


def _distribution(
    network: MoeSimVae, scaling: Scaling, values: NDArray[np.float32], settings: Settings
) -> CellDistribution | None:
    """What cells are generated from; None for a model that does not generate."""
    if not settings.kl_weight or values.shape[1] > MOST_MARKERS:
        return None
    return fit_distribution(network, scaling, values)


def _checked(model: TrainedModel, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Codes (n, d) and clusters (n,) of the landmarks ``values`` (n, m), once their probabilities have been checked."""
    assigner = Assigner(model)
    assigned = assigner.assign(values)
    check_assignment(assigned, model.n_clusters, "the training cells")
    return assigner.codes(values), assigned.cluster


class _Stages:
    """Progress, seconds and checkpoints of the stages."""

    def __init__(self, progress: Progress, checkpoint: Checkpoint | None) -> None:
        self.progress = progress
        self.checkpoint = checkpoint
        self._seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Announce a stage and measure its seconds."""
        if stage not in ("landmarks", "training"):  # landmarks take no time, training reports its steps
            self.progress(stage, 0, 1)
        began = perf_counter()
        yield
        self._seconds[stage] = perf_counter() - began

    def kept(self, stage: str, run: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
        """The arrays of a stage: from the checkpoint, or from ``run``."""
        with self.timed(stage):
            return run() if self.checkpoint is None else self.checkpoint.stage(stage, run)

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, with those of earlier, interrupted runs."""
        earlier = self.checkpoint.earlier if self.checkpoint is not None else {}
        return {stage: spent + earlier.get(stage, 0.0) for stage, spent in self._seconds.items()}
