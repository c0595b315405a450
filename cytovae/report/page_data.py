"""The data of the interactive part of a page, as JSON that is safe inside HTML. `script/data.js` reads them.

Arrays are base64 of little-endian bytes. Names are strings of the JSON, which the script shows as text.
"""

import base64
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.drawing import colour_of
from cytovae.report.content import ReportContent
from cytovae.report.densities import BINS, OVERLAP, densities, scale_name
from cytovae.report.pictures import Pictures
from cytovae.report.resolution import Resolutions, slot_changes
from cytovae.report.row_regions import RowRegion

_HIGHEST_BYTE, _HIGHEST_WORD = 255, 65_535


def page_data(content: ReportContent, pictures: Pictures) -> str:
    """What the script of the page draws and highlights.

    Marker values and distributions have 8 bits over the range of the marker in training, coordinates 16 bits.
    """
    explored, scaling = content.explored, content.saved.model.scaling
    cuts = explored.cuts
    n_slots = 1 + max(int(slots.max()) for slots in cuts.slots)
    shapes = np.stack([densities(content, index) for index in range(len(content.markers))])
    data: dict[str, Any] = {
        "titles": content.titles,
        "sizes": content.counts.tolist(),
        "colours": [colour_of(slot) for slot in range(n_slots)],
        "cuts": {
            "numbers": cuts.numbers,
            "main": cuts.main,
            "experts": cuts.experts.tolist(),
            "slots": [slots.tolist() for slots in cuts.slots],
        },
        "markers": content.markers,
        "low": [float(low) for low in scaling.low],
        "high": [float(high) for high in scaling.high],
        "scale": scale_name(content),
        "first": _telling_markers(content),
        "cells": {
            "count": len(explored.values),
            "values": _bytes(content.scaled(explored.values).T),
            **_changes(explored.clusters, cuts),
        },
        "map": None
        if explored.coordinates is None
        else {
            "count": len(explored.coordinates),
            "places": _words(explored.coordinates),
            **_changes(explored.landmark_clusters, cuts),
        },
        "densities": {"bins": BINS, "overlap": OVERLAP, "heights": _bytes(shapes)},
        "rows": {name: _row_data(region) for name, region in pictures.rows},
    }
    return _safe(json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False))


def _telling_markers(content: ReportContent) -> list[int]:
    """The marker whose medians differ most between clusters, and the one that adds most to it."""
    scaled = content.scaled(content.medians)
    present = scaled[np.isfinite(scaled).all(axis=1)].astype(np.float64)
    spread = present - present.mean(axis=0)  # (n_clusters, n_markers)
    lengths = np.sqrt((spread**2).sum(axis=0))
    first = int(np.argmax(lengths))
    alike = np.abs(spread.T @ spread[:, first]) / np.maximum(lengths * lengths[first], 1e-12)
    adds = lengths * (1 - alike)
    adds[first] = -1 if len(adds) > 1 else 0
    return [first, int(np.argmax(adds))]


def _changes(clusters: NDArray[np.int32], cuts: Resolutions) -> dict[str, Any]:
    """The slots of cells, see :func:`cytovae.report.resolution.slot_changes`."""
    changes = slot_changes(clusters, cuts)
    return {
        "changes": changes.counts.tolist(),
        "changed": _base64(changes.cell.astype("<u2")),
        "slots": _base64(changes.slot.astype("<u2")),
    }


def _row_data(region: RowRegion) -> dict[str, Any]:
    sides = (region.left, region.right, region.top, region.row)
    medians = None
    if region.medians is not None:  # NaN is no JSON
        medians = [[round(x, 2) if np.isfinite(x) else None for x in row] for row in region.medians.tolist()]
    return {
        "box": [round(side, 5) for side in sides],
        "clusters": region.clusters,
        "columns": region.columns,
        "medians": medians,
    }


def _bytes(shares: NDArray[np.floating]) -> str:
    """Numbers in [0, 1] as bytes; numbers beyond are at the ends."""
    return _base64(np.rint(np.clip(shares, 0, 1) * _HIGHEST_BYTE).astype(np.uint8))


def _words(coordinates: NDArray[np.float32]) -> str:
    """Coordinates (n, 2) as words, all x before all y, with one scale for both."""
    lowest, highest = coordinates.min(axis=0), coordinates.max(axis=0)
    side = max(float((highest - lowest).max()), 1e-6)
    middle = (lowest + highest) / 2
    shares = (coordinates - middle) / side + 0.5
    return _base64(np.rint(np.clip(shares, 0, 1) * _HIGHEST_WORD).astype("<u2").T)


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def _safe(text: str) -> str:
    """JSON in which nothing can end the element that holds it, or begin another one."""
    for character in ("<", ">", "&", "\u2028", "\u2029"):
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
