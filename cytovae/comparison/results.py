"""A finished comparison, and its tables."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.comparison.abundance import Difference, compare_abundance, composition_shifts
from cytovae.comparison.assigned_cells import AssignedCells, read_assigned
from cytovae.comparison.layout import ABUNDANCE, FDR, LEVELS, SCHEMA_VERSION
from cytovae.comparison.levels import Levels, compare_levels, read_levels
from cytovae.comparison.samples import Samples, read_design
from cytovae.comparison.statistics import CONFIDENCE
from cytovae.errors import InputError

if TYPE_CHECKING:
    from cytovae.inference.trained_model import SavedModel


@dataclass(frozen=True, eq=False)
class Comparison:
    """What differs between the groups of a study.

    Attributes
    ----------
    assigned : AssignedCells
        The cells.
    samples : Samples
        The samples and their groups.
    cells : ndarray of int64, shape (n_samples, n_populations)
        Number of cells.
    abundance : tuple of Difference
        Differences in abundance, as log2 odds ratios.
    levels : Levels or None
        Medians of state markers, if files were read.
    level_differences : tuple of Difference
        Differences in these medians, on the scale of the model.
    described : bool
        Whether effects were estimated without tests.
    """

    assigned: AssignedCells
    samples: Samples
    cells: NDArray[np.int64]
    abundance: tuple[Difference, ...]
    levels: Levels | None = None
    level_differences: tuple[Difference, ...] = ()
    described: bool = False

    @property
    def populations(self) -> tuple[str, ...]:
        """Names of the populations."""
        return self.assigned.populations

    @property
    def fractions(self) -> NDArray[np.float64]:
        """The share of each population in each sample, shape (n_samples, n_populations)."""
        return np.asarray(self.cells / self.cells.sum(axis=1, keepdims=True), dtype=np.float64)

    def found(self, differences: Sequence[Difference]) -> list[Difference]:
        """The differences with a false discovery rate of at most 5 %, the smallest p value first."""
        return sorted((d for d in differences if d.fdr <= FDR), key=lambda d: d.effect.p)


def compare(
    paths: Sequence[Path],
    sheet: Path,
    condition: str,
    *,
    reference: str | None = None,
    block: str | None = None,
    batch: str | None = None,
    files: Path | None = None,
    saved: "SavedModel | None" = None,
    describe: bool = False,
    progress: Callable[[int], None] = lambda _done: None,
) -> Comparison:
    """Compare the samples of a study.

    Parameters
    ----------
    paths : sequence of Path
        Outputs of ``cytovae assign``, see :func:`cytovae.comparison.assigned_cells.read_assigned`.
    sheet : Path
        The sample sheet.
    condition, reference, block, batch, describe
        See :func:`cytovae.comparison.samples.read_design`.
    files, saved : Path and SavedModel, optional
        Folder with the files of events and the model that assigned them. With both, state markers are compared, too.
    progress : callable
        Receives the number of files whose state markers are read.

    Raises
    ------
    InputError
        If an input cannot be read, or the design does not allow the comparison.
    """
    assigned = read_assigned(paths, with_codes=files is not None)
    samples = read_design(
        sheet, assigned.files, condition, reference=reference, block=block, batch=batch, describe=describe
    )
    cells = samples.join(assigned.counts)
    if not cells.sum(axis=1).all():
        empty = samples.names[int(np.flatnonzero(cells.sum(axis=1) == 0)[0])]
        raise InputError(paths[0], "cells", f"no assigned cell of the sample {empty}", "at least one")
    abundance = compare_abundance(cells, samples.design, describe=describe)
    if files is None or saved is None:
        return Comparison(assigned, samples, cells, abundance, described=describe)
    levels = read_levels(files, saved, assigned, samples, progress)
    differences = compare_levels(levels, cells, samples.design, describe=describe)
    return Comparison(assigned, samples, cells, abundance, levels, differences, describe)


# --- tables -----------------------------------------------------------------------------------------------------------


def tables(comparison: Comparison) -> dict[str, pa.Table]:
    """The tables by file name."""
    found = {
        "abundance_long.csv": _abundance_long(comparison),
        "abundance_wide.csv": _abundance_wide(comparison),
        ABUNDANCE: _differential_abundance(comparison),
    }
    if comparison.levels is not None:
        found["levels.csv"] = _levels(comparison, comparison.levels)
        found[LEVELS] = _differential_levels(comparison, comparison.levels)
    return found


def _sample_columns(comparison: Comparison, times: int = 1) -> dict[str, Any]:
    """Sample, condition, block and batch, each ``times`` in a row."""
    factors = {factor.name: factor.values for factor in comparison.samples.design.factors}
    return {name: np.repeat(values, times) for name, values in ({"sample": comparison.samples.names} | factors).items()}


def _table(columns: Mapping[str, Any]) -> pa.Table:
    """A table; NaN becomes an empty cell."""
    return pa.table({name: pa.array(values, from_pandas=True) for name, values in columns.items()})


def _abundance_long(comparison: Comparison) -> pa.Table:
    n_samples, n_populations = comparison.cells.shape
    return _table(
        {
            **_sample_columns(comparison, n_populations),
            "population": list(comparison.populations) * n_samples,
            "cells": comparison.cells.ravel(),
            "fraction": comparison.fractions.ravel(),
        }
    )


def _abundance_wide(comparison: Comparison) -> pa.Table:
    columns = {**_sample_columns(comparison), "cells": comparison.cells.sum(axis=1)}
    names, values = list(columns), list(columns.values())
    # Not a dictionary: a population may have the name of a column.
    names += comparison.populations
    values += list(comparison.fractions.T)
    return pa.table([pa.array(column, from_pandas=True) for column in values], names=names)


def _effect_columns(differences: Sequence[Difference]) -> dict[str, Any]:
    effects = [difference.effect for difference in differences]
    return {
        "effect": [effect.effect for effect in effects],
        "standard_error": [effect.standard_error for effect in effects],
        "ci_low": [effect.low for effect in effects],
        "ci_high": [effect.high for effect in effects],
        "t": [effect.t for effect in effects],
        "df": [effect.df for effect in effects],
        "p": [effect.p for effect in effects],
        "fdr": [difference.fdr for difference in differences],
        "note": [effect.note for effect in effects],
    }


def _group_means(comparison: Comparison, level: str, values: NDArray[np.float64]) -> float:
    """The mean of ``values`` (n_samples,) over the samples of a level, without NaN."""
    own = values[comparison.samples.design.condition.rows(level)]
    own = own[np.isfinite(own)]
    return float(own.mean()) if len(own) else float("nan")


def _differential_abundance(comparison: Comparison) -> pa.Table:
    differences, reference = comparison.abundance, comparison.samples.design.reference
    fractions = comparison.fractions
    corrected = fractions * np.exp(-composition_shifts(comparison.cells))[:, None]

    def fold(difference: Difference) -> float:
        own = corrected[:, difference.population]
        before = _group_means(comparison, reference, own)
        return _group_means(comparison, difference.level, own) / before if before else float("nan")

    return _table(
        {
            "population": [comparison.populations[d.population] for d in differences],
            "level": [d.level for d in differences],
            "reference": [reference] * len(differences),
            "cells": [int(comparison.cells[:, d.population].sum()) for d in differences],
            "fraction_level": [_group_means(comparison, d.level, fractions[:, d.population]) for d in differences],
            "fraction_reference": [
                _group_means(comparison, reference, fractions[:, d.population]) for d in differences
            ],
            "fold_change": [fold(d) for d in differences],
            **_effect_columns(differences),
        }
    )


def _levels(comparison: Comparison, levels: Levels) -> pa.Table:
    n_samples, n_populations, n_markers = levels.medians.shape
    return _table(
        {
            **_sample_columns(comparison, n_populations * n_markers),
            "population": np.tile(np.repeat(comparison.populations, n_markers), n_samples),
            "marker": list(levels.markers) * (n_samples * n_populations),
            "cells": np.repeat(comparison.cells.ravel(), n_markers),
            "median": levels.medians.ravel(),
        }
    )


def _differential_levels(comparison: Comparison, levels: Levels) -> pa.Table:
    differences, reference = comparison.level_differences, comparison.samples.design.reference

    def medians(difference: Difference) -> NDArray[np.float64]:
        return levels.medians[:, difference.population, difference.marker]

    return _table(
        {
            "population": [comparison.populations[d.population] for d in differences],
            "marker": [levels.markers[d.marker] for d in differences],
            "level": [d.level for d in differences],
            "reference": [reference] * len(differences),
            "median_level": [_group_means(comparison, d.level, medians(d)) for d in differences],
            "median_reference": [_group_means(comparison, reference, medians(d)) for d in differences],
            **_effect_columns(differences),
        }
    )


def summary(comparison: Comparison) -> dict[str, Any]:
    """The content of summary.json."""
    design, names = comparison.samples.design, comparison.populations
    shifts = composition_shifts(comparison.cells)
    content: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "cytovae": __version__,
        "condition": design.condition.name,
        "reference": design.reference,
        "others": [factor.name for factor in design.others],
        "groups": design.group_sizes(),
        "described_only": comparison.described,
        "confidence": CONFIDENCE,
        "effect_of_abundance": "log2 of the odds ratio, after the shift of each sample",
        "samples": [
            {"sample": sample, "cells": int(cells.sum()), "shift": float(shift)}
            for sample, cells, shift in zip(comparison.samples.names, comparison.cells, shifts, strict=True)
        ],
        "populations": len(names),
        "cells_without_population": comparison.assigned.n_unassigned,
        "cells_failed_quality_control": comparison.assigned.n_failed,
        "abundance": _counts(comparison, comparison.abundance),
    }
    if comparison.levels is not None:
        content["effect_of_levels"] = "difference of medians on the scale of the model"
        content["levels"] = _counts(comparison, comparison.level_differences)
        content["markers"] = list(comparison.levels.markers)
        content["markers_not_in_all_files"] = list(comparison.levels.left_out)
    return content


def _counts(comparison: Comparison, differences: Sequence[Difference]) -> dict[str, Any]:
    """How many differences were tested and found, and the populations without a test."""
    notes = {comparison.populations[d.population]: d.effect.note for d in differences if d.effect.note}
    return {
        "tested": sum(bool(np.isfinite(d.effect.p)) for d in differences),
        "found_at_fdr_5_percent": len(comparison.found(differences)),
        "not_tested": [{"population": name, "reason": note} for name, note in notes.items()],
    }
