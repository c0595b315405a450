"""Every choice of a training run in one frozen value, the presets, and where the default departs from the paper."""

from dataclasses import asdict, dataclass, fields, replace
from types import MappingProxyType
from typing import Literal, get_args

from cytovae.errors import UsageError

Metric = Literal["euclidean", "correlation", "canberra"]


Kind = Literal["partition", "radius", "neighbors"]


Activation = Literal["relu", "elu"]


Schedule = Literal["one-cycle", "constant"]


Resolution = Literal["merge", "experts"]


Decoder = Literal["experts", "single"]


_CHOICES = MappingProxyType(
    {
        "metric": get_args(Metric),
        "similarity": get_args(Kind),
        "activation": get_args(Activation),
        "schedule": get_args(Schedule),
        "resolution": get_args(Resolution),
        "decoder": get_args(Decoder),
    }
)


_LOWEST = MappingProxyType(
    {
        "landmarks": 0,
        "umap_neighbors": 2,  # the cell itself is the first
        "umap_min_dist": 0,
        "umap_epochs": 1,
        "neighbors": 1,
        "experts": 1,
        "code": 1,
        "encoder_depth": 1,
        "encoder_width": 1,
        "clustering_depth": 0,
        "clustering_width": 1,
        "expert_width": 1,
        "dropout": 0,
        "input_noise": 0,
        "noisy_share": 0,
        "reconstruction_weight": 0,
        "similarity_weight": 0,
        "population_weight": 0,
        "populations_from": 0,
        "depict_weight": 0,
        "kl_weight": 0,
        "depict_from": 0,
        "batch": 2,  # batch norm needs a variance
        "steps": 0,
        "valley": 0,
        "populations": 0,
    }
)


_HIGHEST = MappingProxyType(
    {"umap_min_dist": 1, "noisy_share": 1, "depict_from": 1, "populations_from": 1, "valley": 1}
)


KL_WEIGHT = 0.1  # π₁ where cells are to be generated and no other weight is set


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
    similarity: Kind = "partition"
    radius: float = 2.0  # of "radius", in units of the UMAP coordinates
    neighbors: int = 10  # of "neighbors", within the batch

    # The network
    experts: int = 150
    code: int = 9
    encoder_depth: int = 2
    encoder_width: int = 64
    clustering_depth: int = 1
    clustering_width: int = 64
    expert_width: int = 16
    decoder: Decoder = "experts"  # "single": one for all cells, of the width of an expert (an ablation)
    activation: Activation = "relu"
    dropout: float = 0.1  # of the noisy branch (DEPICT)
    input_noise: float = 0.1  # added to scaled markers in training, so that cells of other files are at home, too
    noisy_share: float = 1.0  # of the cells of a batch that are so moved
    posterior_noise: bool = False  # draw z from the posterior (needs the KL term to mean anything)

    # The loss, eq. 11
    reconstruction_weight: float = 1.0
    similarity_weight: float = 1.0
    population_weight: float = 1.0  # of eq. 7 between populations, beside that between their small parts
    populations_from: float = 0.4  # share of the steps after which that starts
    depict_weight: float = 0.1  # π₂
    kl_weight: float = 0.0  # π₁
    depict_from: float = 0.5  # share of the steps after which DEPICT starts

    # The optimiser
    batch: int = 256
    steps: int = 1000
    learning_rate: float = 5e-3
    schedule: Schedule = "one-cycle"

    # Experts to clusters
    resolution: Resolution = "merge"
    valley: float = 0.45  # density between two populations over the lower of their peaks
    populations: int = 12  # shallower valleys are followed until so many are found

    def __post_init__(self) -> None:
        for name, lowest in _LOWEST.items():
            if not getattr(self, name) >= lowest:
                raise UsageError(f"{name} must be at least {lowest}, not {getattr(self, name)}")
        for name, highest in _HIGHEST.items():
            if not getattr(self, name) <= highest:
                raise UsageError(f"{name} must be at most {highest}, not {getattr(self, name)}")
        if not self.dropout < 1:
            raise UsageError(f"dropout must be below 1, not {self.dropout}")
        for name in ("radius", "learning_rate"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, not {getattr(self, name)}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"{name} must be one of {', '.join(choices)}, not {getattr(self, name)!r}")


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
    input_noise=0.0,
    depict_weight=0.1,  # π₂ is not printed; 1 with dropout 0.5 leaves one or two clusters
    kl_weight=0.0,
    depict_from=0.0,
    batch=128,
    schedule="constant",
    resolution="experts",
)


# A.1.1. Widths of encoder and experts are not printed: those of A.1.3. The number of experts is that of the components,
# or 40. The coefficient of clustering is that of eq. 7, π₂ within it as above. With DEPICT from the first step, dropout
# of 0.5 in five layers leaves one cluster or a few; it starts in the middle, as in the default.
_PAPER_SYNTHETIC = replace(
    _PAPER_CYTOF,
    preset="paper-synthetic",
    metric="euclidean",
    experts=40,
    code=10,
    clustering_width=100,
    activation="elu",
    posterior_noise=True,
    reconstruction_weight=0.487,
    similarity_weight=0.487,
    depict_weight=0.0487,
    kl_weight=0.024,
    depict_from=0.5,
    batch=512,
    steps=5000,
    learning_rate=1e-3,
)


# A.1.2. Widths of encoder and experts are not printed, and the printed number of parameters does not tell them: own
# ones, about those of others on MNIST.
_PAPER_MNIST = replace(
    _PAPER_SYNTHETIC,
    preset="paper-mnist",
    similarity="neighbors",
    neighbors=10,
    experts=10,
    code=68,
    encoder_depth=2,
    encoder_width=400,
    clustering_depth=3,
    clustering_width=200,
    expert_width=128,
    batch=128,
    steps=20_000,
    learning_rate=1e-4,
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
        "paper-synthetic": _PAPER_SYNTHETIC,
        "paper-mnist": _PAPER_MNIST,
    }
)


def preset(name: str) -> Settings:
    """The settings called ``name``. Raises :class:`UsageError` naming the presets there are."""
    if name not in PRESETS:
        raise UsageError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]


def generating(settings: Settings) -> Settings:
    """The same settings for a model that generates cells: with the KL term, and codes drawn from the posterior."""
    return replace(settings, kl_weight=settings.kl_weight or KL_WEIGHT, posterior_noise=True)


def settings_to_dict(settings: Settings) -> dict[str, object]:
    """Plain values, for JSON."""
    return asdict(settings)


def settings_from_dict(values: dict[str, object]) -> Settings:
    """Settings from plain values, as JSON holds them.

    Raises :class:`UsageError` on names that are unknown and on values of another type than the default's.
    """
    known = {field.name: type(field.default) for field in fields(Settings)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise UsageError(f"unknown settings {', '.join(unknown)}; known are {', '.join(sorted(known))}")
    for name, value in values.items():
        # JSON writes 1.0 as 1 in some hands; True is an int in Python, but not here.
        if type(value) is not known[name] and not (known[name] is float and type(value) is int):
            raise UsageError(f"{name} must be of type {known[name].__name__}, not {value!r}")
    return Settings(**values)  # type: ignore[arg-type]
