"""Models: trained, saved, loaded, and new cells from them."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from cytovae.annotations.known_labels import known_labels
from cytovae.api.cells import StudyCells, read_cells
from cytovae.api.data import as_gates
from cytovae.errors import UsageError
from cytovae.study.sampling import MOST_TRAINING_CELLS
from cytovae.study.train_study import TrainingResult

if TYPE_CHECKING:
    import pandas as pd

    from cytovae.annotations.marker_table import PanelTypes
    from cytovae.inference.trained_model import SavedModel
    from cytovae.settings import Settings


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model, from :func:`train` or :func:`load_model`.

    Attributes
    ----------
    saved : SavedModel
        The network with its panel, transform and compensation.
    training : TrainingResult or None
        How the model was trained; None if it was loaded.
    folder : Path or None
        Where the model was loaded from.
    """

    saved: "SavedModel"
    training: TrainingResult | None = None
    folder: Path | None = None
    seed: int = 0
    device: str = "cpu"

    def __repr__(self) -> str:
        return f"<cytovae model: {len(self.markers)} markers, {self.n_clusters} clusters>"

    @property
    def markers(self) -> tuple[str, ...]:
        """Names of the markers."""
        return self.saved.panel.names

    @property
    def n_clusters(self) -> int:
        """Number of clusters; in a refined model, the highest number may be larger."""
        return self.saved.model.n_clusters

    @property
    def populations(self) -> tuple[str, ...]:
        """The population of each cluster; empty if the model knows no names."""
        names = self.saved.model.names
        return () if names is None else names.of_cluster

    def with_clusters(self, n_clusters: int) -> "Model":
        """The same model with its merge tree cut into ``n_clusters``, without training."""
        if n_clusters == self.n_clusters:
            return self
        saved = replace(self.saved, model=self.saved.model.with_clusters(n_clusters))
        return replace(self, saved=saved, folder=None)  # the folder holds the model as it was


def train(
    data: Any,
    *,
    seed: int = 0,
    preset: str = "default",
    clusters: int | None = None,
    labels: ArrayLike | None = None,
    types: str | PathLike[str] | None = None,
    generative: bool = False,
    device: str = "auto",
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
    settings: dict[str, Any] | None = None,
    **reading: Any,
) -> Model:
    """Train a model.

    Parameters
    ----------
    data
        The cells: as for :func:`read_cells`, or its result. Default of ``at_most``: 200,000 cells.
    seed : int
        Seed of everything that is random.
    preset : str
        Settings to start from, see :data:`cytovae.settings.PRESETS`.
    clusters : int, optional
        Number of clusters. Default: found in the data.
    labels : array-like of shape (n_cells,), optional
        Known populations of the cells from :func:`read_cells`; empty text, NaN or None is not labelled.
    types : path, optional
        A marker table: it decides where the tree of clusters is cut, and names populations.
    generative : bool
        Whether the model also learns to generate cells.
    device, threads
        "auto", "cpu", "cuda", "cuda:N" or "mps"; number of threads, on which the model does not depend.
    progress, settings
        A callable that receives stage, steps done and steps in total; settings that replace those of the preset.
    **reading
        Arguments of :func:`read_cells`.

    Raises
    ------
    UsageError, InputError
        If there are fewer than 50 cells, or a setting is impossible; if the marker table cannot be used.
    NumericalError
        If training diverges.

    Examples
    --------
    >>> import cytovae as cv, numpy as np
    >>> rng = np.random.default_rng(0)
    >>> x = np.concatenate([rng.normal(m, 0.3, (200, 3)) for m in ([0, 0, 4], [0, 4, 0], [4, 0, 0])])
    >>> model = cv.train(x, markers=["CD3", "CD19", "CD14"], transform="none", seed=1)
    >>> model.n_clusters
    3
    """
    from cytovae.environment import n_processors
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.train_model import train_model
    from cytovae.study.train_study import input_records_of, training_result

    cells = _training_cells(data, labels is not None, {"seed": seed, **reading}, set(reading))
    place = resolve_device(device)
    use_threads(1, with_umap=True)
    inputs = input_records_of(cells.study, cells.table, strict=False)
    known = None if labels is None else known_labels(as_gates(labels), "labels").labels
    learning = train_model(
        cells.table,
        _settings(preset, settings or {}, generative=generative),
        seed=seed,
        device=place,
        labels=known,
        types=None if types is None else _types(Path(types), cells.table.markers),
        n_clusters=clusters,
        workers=threads or n_processors(),
        progress=progress,
    )
    result = training_result(cells.study, cells.table, learning, inputs)
    return Model(result.saved, result, seed=seed, device=place)


def _settings(preset: str, changed: dict[str, Any], *, generative: bool) -> "Settings":
    from cytovae import settings as known

    chosen = known.settings_from_dict({**known.settings_to_dict(known.preset(preset)), **changed})
    return known.generating(chosen) if generative else chosen


def _types(path: Path, markers: tuple[str, ...]) -> "PanelTypes":
    from cytovae.annotations.marker_table import read_marker_table, types_of_panel

    return types_of_panel(read_marker_table(path), markers, path)


def _training_cells(data: Any, labelled: bool, reading: dict[str, Any], given: set[str]) -> StudyCells:
    """The cells to train on; ``given`` are the names of reading arguments that the user passed."""
    if isinstance(data, StudyCells):
        if given:
            raise UsageError(f"the cells are read already, so {', '.join(sorted(given))} has no effect")
        return data
    if labelled:
        raise UsageError("labels need the cells that they belong to: train(read_cells(...), labels=...)")
    return read_cells(data, **{"at_most": MOST_TRAINING_CELLS, **reading})


def save_model(model: Model, path: str | PathLike[str], *, force: bool = False) -> Path:
    """Write a model folder; see :func:`load_model`.

    Parameters
    ----------
    model : Model
        The model. One that was loaded is copied from its folder.
    path : path
        The folder. It appears whole or not at all.
    force : bool
        Whether an existing model may be replaced.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If the folder exists (without ``force``) or cannot be written.

    Examples
    --------
    >>> import cytovae as cv, tempfile, pathlib
    >>> model = cv.load_model("tests/golden/schema1/model")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     cv.load_model(cv.save_model(model, pathlib.Path(folder) / "copy")).n_clusters == model.n_clusters
    True
    """
    from cytovae.atomic import whole_folder
    from cytovae.model_folder.save import check_model_target, save_model
    from cytovae.study.train_study import run_record

    target = Path(path)
    check_model_target(target, force=force)
    if model.training is not None:
        result = replace(model.training, saved=model.saved)
        record = run_record(result, seed=model.seed, device=model.device)
        save_model(target, result.saved, result.learning, result.cells, record, force=force)
    elif model.folder is not None:
        with whole_folder(target) as partial:
            shutil.copytree(model.folder, partial, dirs_exist_ok=True)
    else:
        raise UsageError("a loaded model with another number of clusters cannot be saved; save the model as loaded")
    return target


def load_model(path: str | PathLike[str]) -> Model:
    """Read a model folder that ``cytovae train`` or :func:`save_model` wrote.

    Raises
    ------
    ModelError
        If the folder is not a complete, undamaged model.

    Examples
    --------
    >>> import cytovae as cv
    >>> cv.load_model("tests/golden/schema1/model")
    <cytovae model: 12 markers, 6 clusters>
    """
    from cytovae.model_folder.load import load_model as load

    return Model(load(Path(path)), folder=Path(path))


def generate(model: Model, cluster: int, n_cells: int, *, min_posterior: float = 0.0, seed: int = 0) -> "pd.DataFrame":
    """Generate cells of a cluster.

    Parameters
    ----------
    model : Model
        A model that was trained with ``generative=True``.
    cluster : int
        The cluster, from 1.
    n_cells : int
        Number of cells.
    min_posterior : float
        Accept only cells that the model assigns to the cluster with at least this probability.
    seed : int
        Seed of the draw.

    Returns
    -------
    DataFrame
        A column for each marker, in the units of the training data, and the column ``cluster``.

    Raises
    ------
    ModelError
        If the model was not trained to generate cells.
    UsageError
        If there is no such cluster, or too few cells reach ``min_posterior``.

    Examples
    --------
    >>> import cytovae as cv, numpy as np
    >>> x = np.random.default_rng(0).normal([[0, 4]] * 150 + [[4, 0]] * 150, 0.3)
    >>> quick = {"steps": 100, "umap_epochs": 50}
    >>> model = cv.train(x, markers=["CD3", "CD19"], transform="none", generative=True, settings=quick)
    >>> cv.generate(model, cluster=1, n_cells=5).shape
    (5, 3)
    """
    import pandas as pd

    from cytovae.inference.generation import generate as generate_cells
    from cytovae.outputs.generated_cells import measured_values

    cells = generate_cells(model.saved.model, {cluster: n_cells}, min_posterior=min_posterior, seed=seed)
    frame = pd.DataFrame(measured_values(model.saved, cells.values), columns=list(model.markers))
    frame["cluster"] = cells.cluster
    return frame
