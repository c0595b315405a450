"""Cells to a trained model: the stages in their order, each timed. The one function that knows them all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.cells import CellTable, check_assignment
from cytovae.errors import NumericalError, UsageError
from cytovae.inference.assigner import Assigner
from cytovae.inference.cell_distribution import MOST_MARKERS, fit_distribution
from cytovae.inference.novelty import fit_novelty
from cytovae.inference.trained_model import Learning, TrainedModel
from cytovae.model_folder.checkpoint import Checkpoint
from cytovae.network.device import ENCODER_CHUNK
from cytovae.network.scaling import fit_scaling
from cytovae.network.training_loop import build_network, train
from cytovae.populations.expert_merges import keep_experts, merge_experts
from cytovae.populations.neighbors import Neighbors, nearest_neighbors
from cytovae.populations.population_tree import population_tree
from cytovae.populations.similarity import draw_weight, make_similarity
from cytovae.populations.umap_projection import umap_projection
from cytovae.settings import Settings
from cytovae.study.sampling import choose_landmarks

FEWEST_CELLS = 50  # fewer have no neighbourhoods to speak of
CELLS_CHECKED = 1_000  # landmarks whose probabilities must sum to 1 before training returns


def learn(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    labels: NDArray[np.int64] | None = None,
    n_clusters: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> TrainedModel:
    """The model of ``cells``; see :func:`train_model`."""
    return train_model(
        cells, settings, seed=seed, device=device, labels=labels, n_clusters=n_clusters, progress=progress
    ).model


def train_model(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    labels: NDArray[np.int64] | None = None,
    n_clusters: int | None = None,
    workers: int = 1,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    kept: Checkpoint | None = None,
) -> Learning:
    """Choose landmarks, find who is similar and what their populations are, and train the network on it.

    ``labels`` int64 (n_cells,), −1 = unknown, overrule the coordinates where both cells have one. ``n_clusters``
    cuts the tree there rather than where the data suggest. ``workers`` threads find neighbours, and if there are two, a
    second process most of the valleys. ``progress`` is told stage, done and total. What ``kept`` has of them is not
    done again. Raises :class:`UsageError` with too few cells or clusters, :class:`NumericalError` when training
    diverges.
    """
    if len(cells) < FEWEST_CELLS:
        raise UsageError(f"training needs at least {FEWEST_CELLS} cells, there are {len(cells)}")
    if labels is not None and labels.shape != (len(cells),):
        raise UsageError(f"labels of shape {labels.shape} do not fit {len(cells)} cells")
    if n_clusters is not None and not 1 <= n_clusters <= settings.experts:
        raise UsageError(f"{n_clusters} clusters cannot be made of {settings.experts} experts; use more --experts")
    seconds: dict[str, float] = {}
    stage = kept.stage if kept is not None else _made_now

    with _timed(seconds, "landmarks"):
        (rows,) = stage("landmarks", lambda: (choose_landmarks(len(cells), settings.landmarks, seed),))
        values = cells.values[rows]
        scaling = fit_scaling(values)

    progress("neighbours", 0, 1)
    with _timed(seconds, "neighbours"):
        n_neighbors = min(settings.umap_neighbors, len(values))
        found = partial(nearest_neighbors, values, n_neighbors, settings.metric, device, workers=workers)
        neighbors = Neighbors(*stage("neighbours", lambda: _arrays(found())))
    progress("umap", 0, 1)
    with _timed(seconds, "umap"):
        (coordinates,) = stage("umap", lambda: (umap_projection(values, neighbors, settings, seed),))

    tree = None
    if settings.resolution == "merge":
        progress("merging", 0, 1)
        with _timed(seconds, "merging"):
            tree = population_tree(
                values,
                coordinates,
                cells.source[rows],
                n_micro_clusters=settings.experts,
                valley=settings.valley,
                populations=settings.populations,
                seed=seed,
                workers=workers,
            )

    history = []
    with _timed(seconds, "training"):
        known = None if labels is None else labels[rows]
        similarity = make_similarity(coordinates, settings, seed=seed, tree=tree, labels=known, device=device)
        network = build_network(values.shape[1], settings, seed).to(device)
        x = torch.tensor(scaling.scale(values), device=device)
        for record in train(network, x, similarity, draw_weight(similarity), settings, seed, kept):
            history.append(record)
            progress("training", record.step, settings.steps)
        network.eval()
        with torch.inference_mode():
            chunks = [network.assign(x[start : start + ENCODER_CHUNK]) for start in range(0, len(x), ENCODER_CHUNK)]
            probabilities = torch.cat(chunks).cpu().numpy()  # (n, experts)
        novelty = fit_novelty(network, x)
        generates = settings.kl_weight > 0 and values.shape[1] <= MOST_MARKERS
        distribution = fit_distribution(network, scaling, values) if generates else None
    for name, spent in (kept.earlier if kept is not None else {}).items():
        seconds[name] += spent
    merges = keep_experts(probabilities) if tree is None else merge_experts(probabilities, tree)
    model = TrainedModel(network.cpu(), settings, cells.markers, scaling, merges, merges.n_found, novelty, distribution)
    if n_clusters is not None:
        model = model.with_clusters(n_clusters)
    assigner = Assigner(model)
    check_assignment(assigner.assign(values[:CELLS_CHECKED]), model.n_clusters, "the training cells")
    return Learning(model, rows, coordinates, assigner.codes(values), tuple(history), seconds)


def _made_now(_stage: str, make: Callable[[], tuple[NDArray[Any], ...]]) -> tuple[NDArray[Any], ...]:
    return make()


def _arrays(neighbors: Neighbors) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Both arrays. Raises :class:`NumericalError` where values are too large for their distances to be numbers."""
    if not np.isfinite(neighbors.distances).all():
        raise NumericalError(
            "distances between cells are not finite, values are too large; transform them (--transform arcsinh), or "
            "leave the marker out with --exclude (`cytovae inspect` shows the ranges)"
        )
    return neighbors.indices, neighbors.distances


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = perf_counter()
    yield
    seconds[stage] = perf_counter() - began
