"""What a row of a table of assignments holds, by format: Arrow schemas and batches. No files.

Parquet and CSV have the columns ``file`` (string), those of a sample sheet if there is one (string), ``event`` (int64,
0-based row in the file), ``cluster`` (int32, from 1), ``population`` (string, only where clusters have names),
``probability`` (float32, of that cluster), ``novelty`` (float32, where it is known), ``umap_1`` and ``umap_2``
(float32, where they were asked for) and ``p_1 … p_K`` (float32, rows sum to 1). The two that FlowJo imports beside a
sample have one row for each event and nothing else: "clr" (classification results) a column of probabilities for each
class, under the class's name, and "flowjo-csv" one column with the number of the class. Rows are in the order of the
events in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae.annotations.sample_sheet import NO_SAMPLES, SampleSheet
from cytovae.cells import Assignment, probability_of
from cytovae.errors import UsageError

TableFormat = Literal["parquet", "csv", "clr", "flowjo-csv"]


CLUSTER_CHANNEL = "cytovae_cluster"  # FlowJo shows it among the channels of the sample


PROBABILITY_CHANNEL = "cytovae_probability"


NOVELTY_CHANNEL = "cytovae_novelty"


UMAP_CHANNELS = ("cytovae_umap_1", "cytovae_umap_2")


UMAP_COLUMNS = ("umap_1", "umap_2")


TRANSPOSED = 1_024  # rows of a block


@dataclass(frozen=True)
class Extras:
    """What is told of cells beside file, event, cluster and probabilities: names of ``populations`` (none or one for
    each cluster), the ``samples`` they come from, whether ``novelty`` is known and whether ``umap`` was asked for.
    """

    populations: tuple[str, ...] = ()
    samples: SampleSheet = NO_SAMPLES
    novelty: bool = False
    umap: bool = False


PLAIN = Extras()


def class_names(n_clusters: int, populations: Sequence[str] = ()) -> tuple[str, ...]:
    """The names of the clusters: ``populations`` where there are any, else cluster_1, cluster_2, …."""
    return tuple(populations) or tuple(f"cluster_{cluster}" for cluster in range(1, n_clusters + 1))


def table_schema(kind: TableFormat, n_clusters: int, extras: Extras = PLAIN) -> pa.Schema:
    """Columns and types of a table of ``n_clusters`` clusters."""
    if kind == "clr":
        return pa.schema([(name, pa.float32()) for name in class_names(n_clusters, extras.populations)])
    if kind == "flowjo-csv":
        return pa.schema([(CLUSTER_CHANNEL, pa.int32())])
    return pa.schema(
        [
            ("file", pa.string()),
            *((column, pa.string()) for column in extras.samples.columns),
            ("event", pa.int64()),
            ("cluster", pa.int32()),
            *([("population", pa.string())] if extras.populations else []),
            ("probability", pa.float32()),
            *([("novelty", pa.float32())] if extras.novelty else []),
            *((column, pa.float32()) for column in UMAP_COLUMNS if extras.umap),
            *((f"p_{cluster}", pa.float32()) for cluster in range(1, n_clusters + 1)),
        ]
    )


def table_rows(
    kind: TableFormat,
    schema: pa.Schema,
    file: str,
    first_event: int,
    assignment: Assignment,
    extras: Extras = PLAIN,
) -> pa.RecordBatch:
    """The rows of the cells ``first_event``, ``first_event`` + 1, … of ``file``, with the columns of ``schema``.

    Raises :class:`UsageError` where novelty or UMAP coordinates have columns but are not there.
    """
    cluster = pa.array(assignment.cluster.astype(np.int32, copy=False))
    if kind == "flowjo-csv":
        return pa.record_batch([cluster], schema=schema)
    probabilities = [pa.array(column) for column in _columns(assignment.probabilities)]
    if kind == "clr":
        return pa.record_batch(probabilities, schema=schema)
    n_cells = len(assignment)
    populations = extras.populations
    novelty, coordinates = measured(assignment, extras)
    columns = [
        pa.repeat(file, n_cells),
        *(pa.repeat(text, n_cells) for text in extras.samples.of(file)),
        pa.array(np.arange(first_event, first_event + n_cells, dtype=np.int64)),
        cluster,
        *([pa.array(populations, pa.string()).take(pa.array(assignment.cluster - 1))] if populations else []),
        pa.array(probability_of(assignment)),
        *(pa.array(np.ascontiguousarray(column)) for column in (*novelty.T, *coordinates.T)),
        *probabilities,
    ]
    return pa.record_batch(columns, schema=schema)


def _columns(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The columns of ``values`` (n, k), each contiguous: (k, n). In blocks that fit a cache, which takes a
    quarter of the time.
    """
    columns = np.empty(values.shape[::-1], dtype=np.float32)
    for start in range(0, len(values), TRANSPOSED):
        columns[:, start : start + TRANSPOSED] = values[start : start + TRANSPOSED].T
    return columns


def measured(assignment: Assignment, extras: Extras) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Novelty float32 (n_cells, 1) and UMAP coordinates float32 (n_cells, 2), without columns where not wanted.

    Raises :class:`UsageError` where they are wanted but the assignment lacks them, or they do not fit its cells.
    """
    n_cells = len(assignment)
    found = []
    for wanted, values, width, what in (
        (extras.novelty, assignment.novelty, 1, "novelty"),
        (extras.umap, assignment.coordinates, 2, "UMAP coordinates"),
    ):
        if not wanted:
            found.append(np.empty((n_cells, 0), dtype=np.float32))
            continue
        if values is None or values.size != n_cells * width:
            shape = None if values is None else values.shape
            raise UsageError(f"{what} of shape {shape} do not fit {n_cells} cells")
        found.append(np.asarray(values, dtype=np.float32).reshape(n_cells, width))
    return found[0], found[1]
