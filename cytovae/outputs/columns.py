"""Names, types and order of the columns in every output; no other module of this wing spells them. Opens no files.

``parquet`` and ``csv`` have one row per event, in the order of the events:

=================== ======= ============================================================
column              type    content
=================== ======= ============================================================
file                string  name of the file
(sample sheet)      string  the columns of the sample sheet, if there is one
event               int64   row in the file, from 0
cluster             int32   number of the cluster in the model, from 1, whatever its name
cluster_N           int32   the same if the tree is cut into N clusters, for each N of a list
probability         float32 probability of ``cluster``, or of the first ``cluster_N`` if there is no ``cluster``
population          string  its population, if clusters have names; "unknown" without one, or if unlike all labelled
population_...      float32 ``population_probability``: the sum of p_ over the clusters of that population
qc                  string  "pass", or why quality control failed the event, if it was checked
novelty             float32 novelty, if the model measures it
umap_1, umap_2      float32 UMAP coordinates, if requested
p_1, …, p_K         float32 probability of each cluster; rows sum to 1; without numbers that `refine` retired
=================== ======= ============================================================

Probabilities and populations belong to the main cut: ``cluster``, else the first ``cluster_N``. The two tables that
FlowJo imports beside a sample have one row per event: ``clr`` (classification results) the probability of each cluster
of the main cut, ``flowjo-csv`` the number of the cluster for each cut and, if clusters have names, of the population.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.annotations.cluster_names import UNKNOWN, ClusterNames
from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment, probability_of
from cytovae.errors import UsageError
from cytovae.outputs.free_names import free_name

_Item = TypeVar("_Item")

TableFormat = Literal["parquet", "csv", "clr", "flowjo-csv"]

# Tables of cells, and the observations of AnnData.
FILE, EVENT, CLUSTER, PROBABILITY = "file", "event", "cluster", "probability"
POPULATION, POPULATION_PROBABILITY, CELLS_UNKNOWN = "population", "population_probability", "cells_unknown"
QC, NOVELTY, UMAP = "qc", "novelty", ("umap_1", "umap_2")

# Channels and keywords of FCS files.
CLUSTER_CHANNEL, PROBABILITY_CHANNEL, NOVELTY_CHANNEL = "cytovae_cluster", "cytovae_probability", "cytovae_novelty"
POPULATION_CHANNELS = ("cytovae_population", "cytovae_population_probability")
QC_CHANNEL = "cytovae_qc"
UMAP_CHANNELS = ("cytovae_umap_1", "cytovae_umap_2")
PROBABILITY_OF = "CYTOVAE_PROBABILITY_OF"  # of several cuts, the channel that probabilities and populations belong to
SPLIT = "CYTOVAE_SPLIT"  # the population whose cells a file holds
UMAP_SHIFT = "CYTOVAE_UMAP_SHIFT"  # what was added to the coordinates

# The rest of an AnnData file.
LAYER_RAW, GATE = "raw", "gate"
OBSM_PROBABILITIES, OBSM_CODES, OBSM_UMAP, OBSM_OTHER = "p", "z", "X_umap", "other_channels"
VAR_CHANNEL, VAR_COFACTOR = "channel", "cofactor"
UNS, UNS_OTHER_NAMES, UNS_OTHER_LABELS = "cytovae", "other_channels", "other_labels"

_COUNTS = (("cells", pa.int64()), ("fraction", pa.float64()))
_TRANSPOSED_ROWS = 1_024  # rows per block, so that a block fits the processor's cache


@dataclass(frozen=True)
class Extras:
    """The optional columns of an output.

    Attributes
    ----------
    populations, known_below : tuple of str, tuple of float
        See :class:`ClusterNames`; empty if clusters have no names.
    samples : SampleSheet
        What is known of each file.
    cluster, further : str, tuple of int
        The column of the main cut, and the numbers of clusters of the cuts in :attr:`Assignment.further`.
    qc : tuple of str
        What the numbers in :attr:`Assignment.qc` mean; empty if events were not checked.
    novelty, umap : bool
        Whether there is novelty, and whether there are UMAP coordinates.
    umap_shift : pair of float
        What FCS files add to UMAP coordinates, so that none is negative in any file of the study.
    retired : tuple of int
        Numbers of clusters that are not in use, in a refined model. They have no column.
    """

    populations: tuple[str, ...] = ()
    samples: SampleSheet = NO_SAMPLES
    novelty: bool = False
    umap: bool = False
    umap_shift: tuple[float, float] = (0.0, 0.0)
    qc: tuple[str, ...] = ()
    cluster: str = CLUSTER
    further: tuple[int, ...] = ()
    known_below: tuple[float, ...] = ()
    retired: tuple[int, ...] = ()

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of the columns of clusters, that of the main cut first."""
        return (self.cluster, *map(cut_column, self.further))

    @property
    def names(self) -> ClusterNames:
        """``populations`` as names of clusters."""
        return ClusterNames(self.populations, self.known_below)


NO_EXTRAS = Extras()


def cut_column(n_clusters: int) -> str:
    """The column of clusters of a cut that is one of several: ``cluster_8``."""
    return f"{CLUSTER}_{n_clusters}"


def present(of_clusters: Iterable[_Item], extras: Extras) -> list[_Item]:
    """What belongs to clusters 1, 2, …, without that of numbers that are not in use."""
    return [item for number, item in enumerate(of_clusters, start=1) if number not in extras.retired]


def class_names(n_clusters: int, populations: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the classes for FlowJo: cluster_1, cluster_2, …, followed by the population of a named cluster."""
    names = populations or [UNKNOWN] * n_clusters
    return tuple(
        f"cluster_{cluster}" if name == UNKNOWN else f"cluster_{cluster} {name}"
        for cluster, name in enumerate(names, start=1)
    )


def channel_names(extras: Extras) -> tuple[str, ...]:
    """Names of the channels that a copy of an FCS file gets, in order."""
    return (
        *(f"cytovae_{name}" for name in extras.clusters),
        PROBABILITY_CHANNEL,
        *(POPULATION_CHANNELS if extras.populations else ()),
        *([QC_CHANNEL] if extras.qc else []),
        *([NOVELTY_CHANNEL] if extras.novelty else []),
        *(UMAP_CHANNELS if extras.umap else []),
    )


def channel_label(name: str) -> str:
    """The $PnS of one of :func:`channel_names`, such as "cytovae UMAP 1"."""
    return name.replace("_", " ").replace("umap", "UMAP").replace("qc", "QC")


def fcs_keywords(extras: Extras, sample: Sequence[str]) -> dict[str, str]:
    """Keywords that a copy of an FCS file gets: names of clusters, and ``sample``, its row of the sample sheet.

    CYTOVAE_CLUSTER_n is the population of cluster n, CYTOVAE_POPULATION_n the name of number n in the channel of
    populations, where 0 is unknown, CYTOVAE_QC_n number n in the channel of quality control.
    """
    numbered = list(enumerate(extras.populations, start=1))
    clusters = {f"CYTOVAE_CLUSTER_{number}": name for number, name in present(numbered, extras)}
    named = (UNKNOWN, *extras.names.populations) if extras.populations else ()
    populations = {f"CYTOVAE_POPULATION_{number}": name for number, name in enumerate(named)}
    populations |= {f"CYTOVAE_QC_{number}": name for number, name in enumerate(extras.qc)}
    columns = [f"CYTOVAE_{column.upper()}" for column in extras.samples.columns]
    return clusters | populations | dict(zip(columns, sample, strict=False))


def channel_values(assignment: Assignment, extras: Extras) -> NDArray[np.float32]:
    """The values of :func:`channel_names`, float32 (n_cells, n_channels).

    Raises :class:`UsageError` if ``extras`` ask for what the assignment lacks.
    """
    columns = [*clusters_of_cuts(assignment, extras), probability_of(assignment)]
    if extras.populations:
        columns += populations_of(assignment, extras)
    if extras.qc:
        columns.append(qc_numbers(assignment).astype(np.float32))
    return np.column_stack([*columns, *optional_values(assignment, extras)]).astype(np.float32, copy=False)


def populations_of(assignment: Assignment, extras: Extras) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The population of each cell as a number, and its probability, (n_cells,) each; see :class:`ClusterNames`."""
    numbers = extras.names.numbers_of_cells(assignment.cluster, assignment.novelty)
    return numbers, extras.names.probability(assignment.cluster, assignment.probabilities, numbers)


def clusters_of_cuts(assignment: Assignment, extras: Extras) -> list[NDArray[np.int32]]:
    """The clusters (n_cells,) of each cut, the main one first. Raises :class:`UsageError` if some are missing."""
    shape = (len(assignment), len(extras.further))
    further = np.empty(shape, np.int32) if not extras.further else assignment.further
    if further is None or further.shape != shape:
        raise UsageError(f"clusters of further cuts do not fit {shape[0]} cells and {shape[1]} cuts")
    return [assignment.cluster, *further.T]


def qc_numbers(assignment: Assignment) -> NDArray[np.uint8]:
    """The numbers of quality control, uint8 (n_cells,). Raises :class:`UsageError` if they are missing."""
    if assignment.qc is None or assignment.qc.shape != (len(assignment),):
        raise UsageError(f"results of quality control do not fit {len(assignment)} cells")
    return assignment.qc


# --- tables of cells --------------------------------------------------------------------------------------------------


def table_schema(kind: TableFormat, n_clusters: int, extras: Extras = NO_EXTRAS) -> pa.Schema:
    """Columns and types of a table of cells in ``n_clusters`` clusters."""
    if kind == "clr":
        classes = present(class_names(n_clusters, extras.populations), extras)
        return pa.schema([(name, pa.float32()) for name in classes])
    if kind == "flowjo-csv":
        named = [(POPULATION_CHANNELS[0], pa.int32())] if extras.populations else []
        return pa.schema([*((f"cytovae_{name}", pa.int32()) for name in extras.clusters), *named])
    return pa.schema(
        [
            (FILE, pa.string()),
            *((column, pa.string()) for column in extras.samples.columns),
            (EVENT, pa.int64()),
            *((name, pa.int32()) for name in extras.clusters),
            (PROBABILITY, pa.float32()),
            *([(POPULATION, pa.string()), (POPULATION_PROBABILITY, pa.float32())] if extras.populations else []),
            *([(QC, pa.string())] if extras.qc else []),
            *([(NOVELTY, pa.float32())] if extras.novelty else []),
            *((column, pa.float32()) for column in UMAP if extras.umap),
            *((f"p_{cluster}", pa.float32()) for cluster in present(range(1, n_clusters + 1), extras)),
        ]
    )


def table_rows(
    kind: TableFormat,
    schema: pa.Schema,
    file: str,
    first_event: int,
    assignment: Assignment,
    extras: Extras = NO_EXTRAS,
) -> pa.RecordBatch:
    """The rows of consecutive events of ``file``, from ``first_event`` on, with the columns of ``schema``.

    Raises :class:`UsageError` if ``extras`` ask for what the assignment lacks.
    """
    clusters = [pa.array(np.ascontiguousarray(each, np.int32)) for each in clusters_of_cuts(assignment, extras)]
    populations = extras.populations
    if kind == "flowjo-csv":
        numbers = [pa.array(populations_of(assignment, extras)[0])] if populations else []
        return pa.record_batch([*clusters, *numbers], schema=schema)
    columns_of_p = present(_contiguous_columns(assignment.probabilities), extras)
    probabilities = [pa.array(column) for column in columns_of_p]
    if kind == "clr":
        return pa.record_batch(probabilities, schema=schema)
    n_cells = len(assignment)
    named: list[pa.Array] = []
    if populations:
        number, probability = populations_of(assignment, extras)
        texts = pa.array((UNKNOWN, *extras.names.populations), pa.string())
        named = [texts.take(pa.array(number)), pa.array(probability)]
    if extras.qc:
        named.append(pa.array(extras.qc, pa.string()).take(pa.array(qc_numbers(assignment))))
    novelty, umap = optional_values(assignment, extras)
    columns = [
        pa.repeat(file, n_cells),
        *(pa.repeat(text, n_cells) for text in extras.samples.of(file)),
        pa.array(np.arange(first_event, first_event + n_cells, dtype=np.int64)),
        *clusters,
        pa.array(probability_of(assignment)),
        *named,
        *(pa.array(np.ascontiguousarray(column)) for column in (*novelty.T, *umap.T)),
        *probabilities,
    ]
    return pa.record_batch(columns, schema=schema)


def optional_values(assignment: Assignment, extras: Extras) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Novelty (n_cells, 1) and UMAP coordinates (n_cells, 2); without columns if ``extras`` do not ask for them.

    Raises :class:`UsageError` if they are requested but missing, or have another number of cells.
    """
    n_cells = len(assignment)
    arrays = []
    for wanted, values, width, what in (
        (extras.novelty, assignment.novelty, 1, "novelty"),
        (extras.umap, assignment.coordinates, 2, "UMAP coordinates"),
    ):
        if not wanted:
            arrays.append(np.empty((n_cells, 0), dtype=np.float32))
            continue
        if values is None or values.size != n_cells * width:
            shape = None if values is None else values.shape
            raise UsageError(f"{what} of shape {shape} do not fit {n_cells} cells")
        arrays.append(np.asarray(values, dtype=np.float32).reshape(n_cells, width))
    return arrays[0], arrays[1]


def _contiguous_columns(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """``values`` (n, k) transposed to (k, n), in blocks, which takes a quarter of the time."""
    columns = np.empty(values.shape[::-1], dtype=np.float32)
    for start in range(0, len(values), _TRANSPOSED_ROWS):
        columns[:, start : start + _TRANSPOSED_ROWS] = values[start : start + _TRANSPOSED_ROWS].T
    return columns


# --- other tables -----------------------------------------------------------------------------------------------------


def abundance_schema(extras: Extras) -> pa.Schema:
    """Columns and types of ``abundance.csv``: a row for each file and cluster."""
    return pa.schema(
        [
            (FILE, pa.string()),
            *((column, pa.string()) for column in extras.samples.columns),
            (CLUSTER, pa.int64()),
            *([(POPULATION, pa.string())] if extras.populations else []),
            *_COUNTS,
            *([(CELLS_UNKNOWN, pa.int64())] if extras.known_below else []),
        ]
    )


def clusters_schema(extras: Extras) -> pa.Schema:
    """Columns and types of ``clusters.csv``: a row for each cluster."""
    return pa.schema(
        [
            (CLUSTER, pa.int64()),
            *([(POPULATION, pa.string())] if extras.populations else []),
            *_COUNTS,
            ("support", pa.float64()),
            *([(CELLS_UNKNOWN, pa.int64())] if extras.known_below else []),
        ]
    )


def medians_schema(extras: Extras, value_type: pa.DataType) -> pa.Schema:
    """Columns and types of ``cluster_medians.csv``: a row for each cluster and channel."""
    return pa.schema(
        [
            (CLUSTER, pa.int64()),
            *([(POPULATION, pa.string())] if extras.populations else []),
            ("channel", pa.string()),
            ("marker", pa.string()),
            ("used_for_clustering", pa.bool_()),
            ("median", value_type),
            ("n_cells", pa.int64()),
            ("n_values", pa.int64()),
        ]
    )


def generated_schema(markers: Sequence[str]) -> pa.Schema:
    """Columns and types of a table of generated cells: the markers, then the cluster."""
    columns = [(marker, pa.float32()) for marker in markers]
    return pa.schema([*columns, (free_name(CLUSTER, markers), pa.int32())])
