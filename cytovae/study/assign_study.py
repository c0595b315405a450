"""A model and files to outputs: what `cytovae assign` does, without a terminal."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from cytovae.cells import Assignment
from cytovae.events.event_file import EventFile
from cytovae.events.marker_file import CHUNK, transformed
from cytovae.events.transform import Transform
from cytovae.inference.assigner import latent_codes

if TYPE_CHECKING:
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.umap_placement import Interpolator


def assigned_chunks(
    file: EventFile,
    columns: Sequence[int],
    markers: Sequence[str],
    transform: Transform,
    assigner: "Assigner",
    *,
    workers: int = 1,
    interpolator: "Interpolator | None" = None,
) -> Iterator[Assignment]:
    """Clusters of all events of ``file``, chunk after chunk in their order; ``columns`` are those of ``markers``.

    With an ``interpolator`` every cell also gets a place on the UMAP.
    ``workers`` chunks are worked on at the same time, so memory is bounded whatever the size of the file. Raises
    :class:`InputError` where a marker holds values that are not finite.
    """

    def assign(start: int) -> Assignment:
        raw = file.read(columns, start, start + CHUNK)
        values = transformed(raw, markers, transform, file)
        found = assigner.assign(values)
        if interpolator is None:
            return found
        return replace(found, coordinates=interpolator.place(latent_codes(assigner, values)))

    pending: deque[Future[Assignment]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for start in range(0, file.n_events, CHUNK):
                pending.append(pool.submit(assign, start))
                if len(pending) > workers:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
