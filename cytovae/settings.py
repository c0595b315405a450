"""Every choice of a training run in one frozen value, the presets, and where the default departs from the paper."""

from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Literal

from cytovae.errors import UsageError

Metric = Literal["euclidean", "correlation", "canberra"]


@dataclass(frozen=True)
class Settings:
    """How a model is trained. The defaults are one configuration for all data sets.

    The paper's own settings (A.1.1 – A.1.3) are the presets; ``docs/method.md`` lists each departure with its reason.
    """

    preset: str = "default"

    # Landmarks and similarity
    landmarks: int = 20_000  # cells trained on; 0 = all
    metric: Metric = "euclidean"  # between cells, for UMAP's neighbours
    umap_neighbors: int = 15
    umap_min_dist: float = 0.0
    umap_epochs: int = 200
    similarity: Literal["partition", "radius", "neighbors"] = "partition"
    radius: float = 2.0  # of "radius", in units of the UMAP coordinates
    neighbors: int = 10  # of "neighbors", within the batch

    # The network
    experts: int = 150
    code: int = 16
    encoder_depth: int = 2
    encoder_width: int = 128
    clustering_depth: int = 1
    clustering_width: int = 128
    expert_width: int = 16
    activation: Literal["relu", "elu"] = "relu"
    dropout: float = 0.1  # of the noisy branch (DEPICT)
    posterior_noise: bool = False  # draw z from the posterior (needs the KL term to mean anything)

    # The loss, eq. 11
    reconstruction_weight: float = 1.0
    similarity_weight: float = 1.0
    depict_weight: float = 0.1  # π₂
    kl_weight: float = 0.0  # π₁
    depict_from: float = 0.5  # share of the steps after which DEPICT starts

    # The optimiser
    batch: int = 512
    steps: int = 1500
    learning_rate: float = 5e-3
    schedule: Literal["one-cycle", "constant"] = "one-cycle"

    # Experts to clusters
    resolution: Literal["merge", "experts"] = "merge"
    valley: float = 0.45  # two sets of experts are one cluster unless the density between them falls below this

    def __post_init__(self) -> None:
        positive = ("umap_neighbors", "umap_epochs", "experts", "code", "encoder_width", "clustering_width", "batch")
        for name in (*positive, "expert_width", "neighbors"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.dropout < 1:
            raise UsageError(f"dropout must lie in [0, 1), not {self.dropout}")
        if self.radius <= 0 or self.learning_rate <= 0:
            raise UsageError("radius and learning_rate must be positive")
        if self.landmarks < 0 or self.steps < 0:
            raise UsageError("landmarks and steps must not be negative")


# A.1.3. Encoder and expert widths (100 and 48) are those that reproduce the printed parameter counts; dropout 0.5
# and five clustering layers of width 9 are printed.
_PAPER_CYTOF = Settings(
    landmarks=0,
    umap_min_dist=0.1,
    similarity="radius",
    radius=2.0,
    code=9,
    encoder_depth=1,
    encoder_width=100,
    clustering_depth=5,
    clustering_width=9,
    expert_width=48,
    activation="relu",
    dropout=0.5,
    depict_weight=1.0,
    kl_weight=0.0,
    depict_from=0.0,
    batch=128,
    schedule="constant",
    resolution="experts",
)

PRESETS = MappingProxyType(
    {
        "default": Settings(),
        "paper-weber": replace(
            _PAPER_CYTOF,
            preset="paper-weber",
            metric="correlation",
            experts=25,
            steps=30_000,
            learning_rate=1e-3,
        ),
        # A.1.3 lists "correlation" for all CyTOF data, its text Canberra (eq. 17) for this one.
        "paper-bodenmiller": replace(
            _PAPER_CYTOF,
            preset="paper-bodenmiller",
            metric="canberra",
            experts=15,
            steps=20_000,
            learning_rate=5e-3,
        ),
    }
)


def preset(name: str) -> Settings:
    """The settings called ``name``. Raises :class:`UsageError` naming the presets there are."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def settings_to_dict(settings: Settings) -> dict[str, object]:
    """Plain values, for JSON."""
    return asdict(settings)


def settings_from_dict(values: dict[str, object]) -> Settings:
    """Settings from plain values; unknown names raise :class:`UsageError`."""
    known = {field.name for field in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise UsageError(f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    return Settings(**values)  # type: ignore[arg-type]
