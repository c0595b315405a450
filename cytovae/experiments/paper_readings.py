"""How the paper's settings for Bodenmiller's wells (A.1.3) can be read: what it does not print, or prints in two ways.

Printed, and the same in every reading: 15 experts, a code of 9, batches of 128, 20,000 steps, ReLU, a learning rate of
0.005, a clustering network of five layers of nine, weights 1, 1 and 0, and S by a distance below 2 on UMAP coordinates.
Dropout 0.5 is printed, too, but the released code never applies it. A reading with another dropout says so.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from cytovae.settings import Settings, preset

PRINTED_DROPOUT = 0.5
MOST_READINGS = 30
"""The search tries no more readings than this."""


@dataclass(frozen=True)
class Reading:
    """One way to read A.1.3.

    Attributes
    ----------
    settings : Settings
        The settings of the model.
    batch_norm : bool
        False: as in the released code, where batch norm never updates its statistics, so that it is a learned scale
        and shift.
    """

    settings: Settings
    batch_norm: bool = True

    def changed(self, values: Mapping[str, Any]) -> "Reading":
        """The reading with other ``values`` of its own fields or of its settings, by name."""
        own = {name: value for name, value in values.items() if name == "batch_norm"}
        of_settings = {name: value for name, value in values.items() if name not in own}
        return replace(self, settings=replace(self.settings, **of_settings), **own)

    def __str__(self) -> str:
        """What differs from :data:`START`, in words, and where a printed value is departed from."""
        now, start = self.settings, START.settings
        parts: list[str] = []
        if now.metric != start.metric:
            parts.append("Euclidean" if now.metric == "euclidean" else now.metric)
        if now.umap_min_dist != start.umap_min_dist:
            parts.append(f"min_dist {now.umap_min_dist:g}")
        if now.umap_neighbors != start.umap_neighbors:
            parts.append(f"{now.umap_neighbors} neighbours")
        if now.radius_unit != start.radius_unit:
            parts.append("radius in tenths of the width" if now.radius_unit == "tenths" else "radius in SD")
        if not self.batch_norm:
            parts.append("batch norm inactive")
        if now.posterior_noise:
            parts.append("sampled codes")
        if now.schedule != start.schedule:
            parts.append(f"{now.schedule} learning rate")
        parts.extend(_words_of_depict(now, start))
        return ", ".join(parts) or "as first read"


def _words_of_depict(now: Settings, start: Settings) -> list[str]:
    if not now.depict_weight:
        return ["no DEPICT"]
    parts: list[str] = []
    if (now.depict_weight, now.depict_from) != (start.depict_weight, start.depict_from):
        first = "the first step" if not now.depict_from else f"{now.depict_from:.0%} of the steps"
        parts.append(f"π₂ {now.depict_weight:g} from {first}")
    if now.dropout != PRINTED_DROPOUT:
        dropout = f"{now.dropout:g}" if now.dropout else "inactive"
        parts.append(f"dropout {dropout} (printed: {PRINTED_DROPOUT:g})")
    return parts


START = Reading(
    replace(
        preset("paper-bodenmiller"),
        metric="canberra",
        radius_unit="layout",
        umap_min_dist=0.1,
        umap_neighbors=15,
        depict_weight=0.1,
        depict_from=0.0,
        dropout=PRINTED_DROPOUT,
        posterior_noise=False,
        schedule="constant",
    )
)
"""The first reading: the metric of the paper's text, UMAP's own defaults, and DEPICT from the first step on."""


def _depict(weight: float, begin: float = 0.0, dropout: float = PRINTED_DROPOUT) -> Mapping[str, Any]:
    return MappingProxyType({"depict_weight": weight, "depict_from": begin, "dropout": dropout})


def _levels(name: str, *values: object) -> tuple[Mapping[str, Any], ...]:
    return tuple(MappingProxyType({name: value}) for value in values)


NO_DEPICT = _depict(0.0)
METRICS = _levels("metric", "canberra", "correlation", "euclidean")
MIN_DISTS = _levels("umap_min_dist", 0.1, 0.0)
NEIGHBORS = _levels("umap_neighbors", 15, 30, 10)
RADII = _levels("radius_unit", "layout", "tenths", "spread")
NORMS = _levels("batch_norm", True, False)
NOISE = _levels("posterior_noise", False, True)
SCHEDULES = _levels("schedule", "constant", "one-cycle")


@dataclass(frozen=True)
class Stage:
    """Changes that are made to the best reading so far, each by itself. Those that it already has are left out."""

    title: str
    changes: tuple[Mapping[str, Any], ...]


STAGES = (
    # The metric matters only without an early DEPICT, which leaves few clusters, so the two are crossed.
    Stage(
        "metric and DEPICT",
        (
            *({**metric, **depict} for depict in (_depict(0.1), NO_DEPICT) for metric in METRICS),
            *({**metric, **_depict(0.1, 0.5)} for metric in METRICS[:2]),
        ),
    ),
    Stage("UMAP, radius and training", (*MIN_DISTS, *NEIGHBORS, *RADII, *NORMS, *NOISE, *SCHEDULES)),
    Stage(
        "DEPICT and dropout",
        (
            NO_DEPICT,
            _depict(0.01),
            _depict(0.1),
            _depict(0.01, 0.5),
            _depict(0.1, 0.5),
            _depict(1.0, 0.5),
            _depict(0.1, dropout=0.0),
            _depict(0.1, 0.5, dropout=0.1),
            _depict(1.0, 0.5, dropout=0.1),
        ),
    ),
    Stage("again", (*MIN_DISTS, *NORMS, *NOISE, *SCHEDULES, *NEIGHBORS[:2], *RADII[:2])),
)
"""Eight, eight, eight and six readings. A stage needs the result of the one before, the readings of a stage do not."""


def readings_of(stage: Stage, best: Reading, tried: Collection[Reading]) -> tuple[Reading, ...]:
    """The readings of a stage from ``best`` on, without those ``tried``; at most :data:`MOST_READINGS` in all."""
    changed = dict.fromkeys(best.changed(change) for change in stage.changes)
    new: Sequence[Reading] = [reading for reading in changed if reading not in tried]
    return tuple(new[: MOST_READINGS - len(tried)])
