"""The settings of a training run, with their limits, and the presets."""

import math
import operator
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Literal, get_args, get_origin

from cytovae.errors import UsageError

Metric = Literal["euclidean", "correlation", "canberra"]
Kind = Literal["partition", "radius", "neighbors"]
Activation = Literal["relu", "elu"]
Schedule = Literal["one-cycle", "constant"]
Resolution = Literal["merge", "experts"]
Decoder = Literal["experts", "single"]
RadiusUnit = Literal["layout", "tenths", "spread"]

LARGEST_SEED = 2**32 - 1
"""Random generators of scikit-learn and UMAP take no larger seed."""

KL_WEIGHT = 0.1
"""π₁ of generative models, unless another weight is set."""


class SettingError(UsageError):
    """A setting has a value that it cannot have.

    Callers that know where the value came from can build their own message from ``name``, ``found`` and ``expected``.
    """

    def __init__(self, name: str, found: object, expected: str) -> None:
        super().__init__(f"{name} must be {expected}, not {found!r}")
        self.name = name
        self.found = found
        self.expected = expected


def _about(description: str, **limits: float) -> dict[str, object]:
    """Metadata of a setting: what it is, and its limits ``at_least``, ``at_most``, ``above`` or ``below``."""
    return {"description": description, **limits}


_LIMITS = MappingProxyType(
    {"at_least": operator.ge, "at_most": operator.le, "above": operator.gt, "below": operator.lt}
)


@dataclass(frozen=True)
class Settings:
    """How a model is trained. The defaults are one configuration for all data sets.

    The paper's own settings (A.1.1 to A.1.3) are the presets; ``docs/method.md`` gives the reason for each departure.
    Each field knows its limits; its choices are those of its type. Raises :class:`SettingError` for a value outside.
    """

    preset: str = field(default="default", metadata=_about("name of the preset that the settings started from"))

    # Landmarks and similarity
    landmarks: int = field(default=20_000, metadata=_about("cells to train on; 0 means all", at_least=0))
    metric: Metric = field(default="euclidean", metadata=_about("distance between cells, for UMAP's neighbors"))
    umap_neighbors: int = field(
        default=15, metadata=_about("neighbors for UMAP, including the cell itself", at_least=2)
    )
    umap_min_dist: float = field(default=0.0, metadata=_about("min_dist of UMAP", at_least=0, at_most=1))
    umap_epochs: int = field(default=60, metadata=_about("epochs of UMAP", at_least=1))
    umap_negatives: int = field(
        default=3, metadata=_about("cells that UMAP pushes away for each neighbor it pulls closer", at_least=0)
    )
    similarity: Kind = field(default="partition", metadata=_about("how two cells are compared for S"))
    radius: float = field(default=2.0, metadata=_about('for "radius": distance in UMAP coordinates', above=0))
    radius_unit: RadiusUnit = field(
        default="layout",
        metadata=_about("unit of the radius: of UMAP coordinates, a tenth of the layout's width, or its SD"),
    )
    neighbors: int = field(default=10, metadata=_about('for "neighbors": how many, within the batch', at_least=1))

    # Network
    experts: int = field(default=150, metadata=_about("experts of the decoder", at_least=1))
    code: int = field(default=9, metadata=_about("dimensions of the latent code", at_least=1))
    encoder_depth: int = field(default=2, metadata=_about("hidden layers of the encoder", at_least=1))
    encoder_width: int = field(default=64, metadata=_about("units of an encoder layer", at_least=1))
    clustering_depth: int = field(default=1, metadata=_about("hidden layers of the clustering network", at_least=0))
    clustering_width: int = field(default=64, metadata=_about("units of a clustering layer", at_least=1))
    expert_width: int = field(default=16, metadata=_about("hidden units of an expert", at_least=1))
    decoder: Decoder = field(default="experts", metadata=_about('"single": one decoder for all cells (an ablation)'))
    activation: Activation = field(default="relu", metadata=_about("activation function of all hidden layers"))
    dropout: float = field(default=0.1, metadata=_about("dropout of the noisy branch (DEPICT)", at_least=0, below=1))
    input_noise: float = field(
        default=0.1,
        metadata=_about("SD of the noise on scaled markers, for generalization to new files", at_least=0),
    )
    noisy_share: float = field(
        default=1.0, metadata=_about("share of the cells of a batch that get the noise", at_least=0, at_most=1)
    )
    posterior_noise: bool = field(
        default=False, metadata=_about("sample z from the posterior; only meaningful with the KL term")
    )

    # Loss (eq. 11)
    reconstruction_weight: float = field(default=1.0, metadata=_about("weight of eq. 4", at_least=0))
    similarity_weight: float = field(default=1.0, metadata=_about("weight of eq. 7", at_least=0))
    population_weight: float = field(
        default=1.0, metadata=_about("weight of eq. 7 between populations, relative to micro-clusters", at_least=0)
    )
    populations_from: float = field(
        default=0.4, metadata=_about("share of the steps before the population term starts", at_least=0, at_most=1)
    )
    depict_weight: float = field(default=0.0, metadata=_about("π₂, weight of eq. 8 (DEPICT)", at_least=0))
    kl_weight: float = field(default=0.0, metadata=_about("π₁, weight of eq. 3", at_least=0))
    depict_from: float = field(
        default=0.5, metadata=_about("share of the steps before DEPICT starts", at_least=0, at_most=1)
    )

    # Optimizer
    batch: int = field(default=256, metadata=_about("cells per batch; batch norm needs two", at_least=2))
    steps: int = field(default=1000, metadata=_about("training steps", at_least=0))
    named_steps: float = field(
        default=1.5, metadata=_about("steps with a marker table or labels, relative to those without", above=0)
    )
    learning_rate: float = field(default=5e-3, metadata=_about("learning rate, or the peak of the cycle", above=0))
    schedule: Schedule = field(default="one-cycle", metadata=_about("how the learning rate changes over the steps"))

    # From experts to clusters
    resolution: Resolution = field(default="merge", metadata=_about("whether experts are merged into clusters"))
    valley: float = field(
        default=0.45,
        metadata=_about("density between two populations, relative to the lower of their peaks", at_least=0, at_most=1),
    )
    populations: int = field(
        default=12,
        metadata=_about("shallower valleys count, too, until about so many populations are found", at_least=0),
    )
    views: int = field(
        default=12, metadata=_about("small views that must agree on populations, beside the landmarks' own", at_least=0)
    )
    view_cells: int = field(default=5_000, metadata=_about("cells of a small view", at_least=50))
    support: int = field(
        default=8, metadata=_about("small views that measure the support of clusters; 0: none", at_least=0)
    )

    def __post_init__(self) -> None:
        for setting in fields(self):
            value = getattr(self, setting.name)
            choices = get_args(setting.type)
            if choices and value not in choices:
                raise SettingError(setting.name, value, f"one of {', '.join(choices)}")
            for limit, holds in _LIMITS.items():
                bound = setting.metadata.get(limit)
                if bound is not None and not holds(value, bound):  # also refuses NaN
                    raise SettingError(setting.name, value, f"{limit.replace('_', ' ')} {bound}")


# A.1.3. The widths of encoder (100) and experts (48) are not printed; these reproduce the printed parameter counts.
# A.1.3 lists "correlation" for all CyTOF data; its text says Canberra (eq. 17) for Bodenmiller's. The unit of the
# radius and π₂ are not printed. These readings reproduce Table A1 best: see docs/results/bodenmiller_search.md.
_PAPER_CYTOF = Settings(
    landmarks=0,
    umap_min_dist=0.1,
    umap_epochs=200,
    umap_negatives=5,
    similarity="radius",
    radius=2.0,
    radius_unit="tenths",
    metric="correlation",
    code=9,
    encoder_depth=1,
    encoder_width=100,
    clustering_depth=5,
    clustering_width=9,
    expert_width=48,
    activation="relu",
    dropout=0.5,
    input_noise=0.0,
    depict_weight=0.0,
    kl_weight=0.0,
    depict_from=0.0,
    batch=128,
    schedule="constant",
    resolution="experts",
)


# A.1.1. The widths of encoder and experts are not printed; they are those of A.1.3. The paper uses 2 to 40 experts. Its
# "loss coefficient clustering" is the weight of eq. 7. π₂ is a tenth of it, and DEPICT starts halfway: with dropout 0.5
# in five layers from the first step on, only one or a few clusters remain.
_PAPER_SYNTHETIC = replace(
    _PAPER_CYTOF,
    preset="paper-synthetic",
    metric="euclidean",
    radius_unit="layout",
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


# A.1.2. The widths of encoder and experts are not printed and do not follow from the printed parameter count; these are
# usual widths for MNIST.
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
            experts=25,
            steps=30_000,
            learning_rate=1e-3,
        ),
        "paper-bodenmiller": replace(
            _PAPER_CYTOF,
            preset="paper-bodenmiller",
            experts=15,
            steps=20_000,
            learning_rate=5e-3,
        ),
        "paper-synthetic": _PAPER_SYNTHETIC,
        "paper-mnist": _PAPER_MNIST,
    }
)


def preset(name: str) -> Settings:
    """The settings of a preset. Raises :class:`UsageError` for an unknown name."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}; known presets are {', '.join(PRESETS)}")
    return PRESETS[name]


def generating(settings: Settings) -> Settings:
    """The same settings for a generative model: with the KL term, and codes sampled from the posterior."""
    return replace(settings, kl_weight=settings.kl_weight or KL_WEIGHT, posterior_noise=True)


def settings_to_dict(settings: Settings) -> dict[str, object]:
    """Plain values, for JSON."""
    return asdict(settings)


def settings_from_dict(values: Mapping[str, object]) -> Settings:
    """Settings from plain values, as JSON holds them; missing ones take their defaults.

    Raises
    ------
    UsageError
        For an unknown name, and as :class:`SettingError` for a value of the wrong type or outside its limits.
    """
    known = {setting.name: setting for setting in fields(Settings)}
    unknown = sorted(values.keys() - known.keys())
    if unknown:
        raise UsageError(f"unknown settings {', '.join(unknown)}; known settings: {', '.join(sorted(known))}")
    for name, value in values.items():
        expected = _expected_type(known[name], value)
        if expected is not None:
            raise SettingError(name, value, expected)
    return Settings(**values)  # type: ignore[arg-type]


def _expected_type(setting: Field[Any], value: object) -> str | None:
    """The type that a plain value must have, in words; None if it has it."""
    if get_origin(setting.type) is Literal or setting.type is str:
        return None if isinstance(value, str) else "text"
    if setting.type is bool:
        return None if isinstance(value, bool) else "true or false"
    # JSON may write 1.0 as 1. True is an int in Python, but not here.
    if setting.type is int:
        return None if type(value) is int else "a whole number"
    return None if type(value) in (int, float) and _is_finite(value) else "a finite number"


def _is_finite(value: Any) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float can hold
        return False
