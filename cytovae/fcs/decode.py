"""Bytes of DATA to values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cytovae.fcs.layout import Column, Layout

_BLOCK_BYTES = 1 << 20


def decode(
    rows: NDArray[np.uint8], layout: Layout, columns: Sequence[int], apply_log: bool
) -> NDArray[np.float32 | np.float64]:
    """Decode the selected columns, about a megabyte of rows at a time.

    Parameters
    ----------
    rows
        Raw bytes of shape (n_rows, row_bytes).
    layout
        The layout of a row.
    columns
        Indices of the columns to decode, in the order of the result.
    apply_log
        Whether to convert logarithmic integers to the linear scale (FCS 3.1, $PnE).

    Returns
    -------
    Values of shape (n_rows, n_columns) with ``layout.dtype``.
    """
    out: NDArray[Any] = np.empty((len(rows), len(columns)), layout.dtype)
    selected = [layout.columns[index] for index in columns]
    stored = {(column.kind, column.width) for column in layout.columns}
    uniform = len(stored) == 1 and ("I", 3) not in stored
    all_columns = list(columns) == list(range(len(layout.columns)))
    step = max(1, _BLOCK_BYTES // layout.row_bytes)
    for start in range(0, len(rows), step):
        block, target = rows[start : start + step], out[start : start + step]
        if uniform:
            values = block.view(_dtype(selected[0], layout.order)) if selected else block[:, :0]
            values = values if all_columns else values[:, list(columns)]
            masks = _masks(selected)
            target[...] = values if masks is None else values.astype(masks.dtype) & masks
        else:
            for position, column in enumerate(selected):
                target[:, position] = _column_values(block, column, layout.order)
        if apply_log:
            for position, column in enumerate(selected):
                if column.decades:
                    target[:, position] *= column.decades / column.range
                    np.power(10.0, target[:, position], out=target[:, position])
                    target[:, position] *= column.at_zero
    return out


def _dtype(column: Column, order: str) -> np.dtype[Any]:
    return np.dtype(f"{order}{'u' if column.kind == 'I' else 'f'}{column.width}")


def _masks(columns: Sequence[Column]) -> NDArray[np.unsignedinteger[Any]] | None:
    if all(column.mask is None for column in columns):
        return None
    all_bits = (1 << 8 * columns[0].width) - 1
    masks = [all_bits if column.mask is None else column.mask for column in columns]
    return np.array(masks, _dtype(columns[0], "="))


def _column_values(block: NDArray[np.uint8], column: Column, order: str) -> NDArray[Any]:
    raw = block[:, column.offset : column.offset + column.width]
    if column.width == 3:
        low, middle, high = (raw[:, byte].astype(np.uint32) for byte in ((0, 1, 2) if order == "<" else (2, 1, 0)))
        values = low | middle << 8 | high << 16
    else:
        values = raw.view(_dtype(column, order))[:, 0]
    return values if column.mask is None else values & values.dtype.type(column.mask)
