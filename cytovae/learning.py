"""Cells to a trained model: the stages in their order, each timed. The one function that knows them all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from cytovae.cells import CellTable
from cytovae.distributed import ALONE, Ranks
from cytovae.errors import DeviceError, Interrupted, UsageError
from cytovae.landmarks import choose_landmarks
from cytovae.resolution import expert_tree, merge_tree
from cytovae.settings import Settings
from cytovae.similarity import make_similarity, nearest_neighbors, umap_projection
from cytovae.trained import TrainedModel
from cytovae.training import ProgressRecord, build_network, train
from cytovae.transform import fit_scaling

FEWEST_CELLS = 50  # fewer have no neighbourhoods to speak of


@dataclass(frozen=True, eq=False)
class Learning:
    """What learning leaves behind beside the model: the landmarks (rows of the cell table), their UMAP coordinates
    (n, 2), the records of training and the seconds of each stage.
    """

    model: TrainedModel
    landmarks: NDArray[np.int64]
    coordinates: NDArray[np.float32]
    history: tuple[ProgressRecord, ...]
    seconds: dict[str, float]


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
    """The model of ``cells``; see :func:`learn_with_history`."""
    return learn_with_history(
        cells, settings, seed=seed, device=device, labels=labels, n_clusters=n_clusters, progress=progress
    ).model


def learn_with_history(
    cells: CellTable,
    settings: Settings,
    *,
    seed: int,
    device: str = "cpu",
    labels: NDArray[np.int64] | None = None,
    n_clusters: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    ranks: Ranks = ALONE,
) -> Learning:
    """Choose landmarks, find who is similar, train the network and merge its experts.

    ``labels`` int64 (n_cells,), −1 = unknown, overrule the coordinates where both cells have one. ``n_clusters``
    cuts the tree there rather than where the data suggest. ``progress`` is told stage, done and total. The others of
    ``ranks`` call :func:`help_learning` meanwhile. Raises :class:`UsageError` with too few cells or clusters,
    :class:`NumericalError` when training diverges, :class:`Interrupted` when one of the ranks is asked to stop.
    """
    if len(cells) < FEWEST_CELLS:
        raise UsageError(f"training needs at least {FEWEST_CELLS} cells, there are {len(cells)}")
    if labels is not None and labels.shape != (len(cells),):
        raise UsageError(f"labels of shape {labels.shape} do not fit {len(cells)} cells")
    if n_clusters is not None and not 1 <= n_clusters <= settings.experts:
        raise UsageError(f"{n_clusters} clusters cannot be made of {settings.experts} experts; use more --experts")
    seconds: dict[str, float] = {}

    with _timed(seconds, "landmarks"):
        rows = choose_landmarks(len(cells), settings.landmarks, seed)
        values = cells.values[rows]
        scaling = fit_scaling(values)

    progress("neighbours", 0, 1)
    with _timed(seconds, "neighbours"):
        neighbors = nearest_neighbors(values, min(settings.umap_neighbors, len(values)), settings.metric, device)
    progress("umap", 0, 1)
    with _timed(seconds, "umap"):
        coordinates = umap_projection(values, neighbors, settings, seed)

    history = []
    with _timed(seconds, "training"):
        known = None if labels is None else labels[rows]
        similarity = make_similarity(coordinates, settings, seed=seed, labels=known, device=device)
        network = build_network(values.shape[1], settings, seed).to(device)
        x = torch.from_numpy(scaling.scale(values)).to(device)
        ranks.send(x, similarity)
        for record in train(network, x, similarity, None, settings, seed, ranks):
            history.append(record)
            progress("training", record.step, settings.steps)
            # All ranks look at the same step, so state that is saved here is the same whoever was asked to stop.
            if number := ranks.signal_to_stop():
                raise Interrupted(number)
        ranks.done()

    progress("merging", 0, 1)
    with _timed(seconds, "merging"):
        network.eval()
        with torch.inference_mode():
            probabilities = network.assign(x).cpu().numpy()  # (n, experts)
        tree = (
            merge_tree(values, coordinates, probabilities, settings.fineness, seed)
            if settings.resolution == "merge"
            else expert_tree(probabilities)
        )
    model = TrainedModel(network.cpu(), settings, cells.markers, scaling, tree, tree.n_found)
    if n_clusters is not None:
        model = model.with_clusters(n_clusters)
    return Learning(model, rows, coordinates, tuple(history), seconds)


def help_learning(settings: Settings, *, seed: int, device: str, ranks: Ranks) -> None:
    """The part of another rank than the first, which calls :func:`learn_with_history` with the same settings and seed.

    It trains with the first on what that sends, and keeps nothing. Raises as it does.
    """
    x, similarity = ranks.receive(settings.radius, settings.neighbors, device)
    network = build_network(x.shape[1], settings, seed).to(device)
    for _ in train(network, x, similarity, None, settings, seed, ranks):
        if number := ranks.signal_to_stop():
            raise Interrupted(number)
    ranks.done()


def resolve_device(asked: str) -> str:
    """``auto`` becomes the GPU if there is one, else the CPU. Raises :class:`DeviceError` for one that is missing."""
    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {asked!r}; use auto, cpu, cuda, cuda:N or mps") from error
    missing = (
        (device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()))
        or (device.type == "mps" and not torch.backends.mps.is_available())
        or device.type not in ("cpu", "cuda", "mps")
    )
    if missing:
        raise DeviceError(
            f"device {asked} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA devices. Use --device auto or cpu, or install torch for your GPU."
        )
    return asked


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = perf_counter()
    yield
    seconds[stage] = perf_counter() - began
