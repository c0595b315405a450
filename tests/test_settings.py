"""Settings: what is refused, the presets compared with the paper, and the round trip through JSON."""

import json
from dataclasses import FrozenInstanceError, fields, replace
from typing import Any

import pytest

from cytovae.errors import UsageError
from cytovae.settings import PRESETS, SettingError, Settings, preset, settings_from_dict, settings_to_dict

# What A.1.3 prints for the CyTOF data (Weber & Robinson, Bodenmiller).
PRINTED_FOR_CYTOF = {
    "batch": 128,
    "code": 9,
    "activation": "relu",
    "reconstruction_weight": 1.0,
    "similarity_weight": 1.0,
    "kl_weight": 0.0,
    "dropout": 0.5,
    "similarity": "radius",
    "radius": 2.0,
    "clustering_depth": 5,
    "clustering_width": 9,
}
PRINTED = {
    "paper-weber": {"experts": 25, "steps": 30_000, "learning_rate": 1e-3, "metric": "correlation"},
    "paper-bodenmiller": {"experts": 15, "steps": 20_000, "learning_rate": 5e-3, "metric": "correlation"},
}


# What A.1.2 prints for MNIST.
PRINTED_FOR_MNIST = {
    "experts": 10,
    "batch": 128,
    "code": 68,
    "steps": 20_000,
    "activation": "elu",
    "reconstruction_weight": 0.487,
    "similarity_weight": 0.487,
    "kl_weight": 0.024,
    "learning_rate": 1e-4,
    "dropout": 0.5,
    "similarity": "neighbors",
    "neighbors": 10,
    "clustering_depth": 3,
    "clustering_width": 200,
}


def test_the_preset_for_mnist_has_the_printed_values() -> None:
    values = settings_to_dict(preset("paper-mnist"))
    assert {key: values[key] for key in PRINTED_FOR_MNIST} == PRINTED_FOR_MNIST
    assert (values["resolution"], values["landmarks"]) == ("experts", 0)


@pytest.mark.parametrize("name", PRINTED)
def test_the_presets_for_cytof_have_the_printed_values(name: str) -> None:
    values = settings_to_dict(preset(name))
    printed: dict[str, object] = {**PRINTED_FOR_CYTOF, **PRINTED[name]}
    assert {key: values[key] for key in printed} == printed
    assert values["resolution"] == "experts"  # a cluster is an expert
    assert values["landmarks"] == 0  # trained on all data


def test_settings_name_their_preset() -> None:
    assert {name: settings.preset for name, settings in PRESETS.items()} == {name: name for name in PRESETS}
    assert preset("default") == Settings()


def test_the_error_for_an_unknown_preset_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'paper'.*default, paper-weber, paper-bodenmiller"):
        preset("paper")


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_json(name: str) -> None:
    settings = replace(preset(name), radius=0.1 + 0.2, experts=7)
    assert settings_from_dict(json.loads(json.dumps(settings_to_dict(settings)))) == settings


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().steps = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("landmarks", -1),
        ("umap_neighbors", 1),  # the cell itself is one
        ("umap_epochs", 0),
        ("umap_min_dist", -0.1),
        ("umap_min_dist", 1.1),  # UMAP's spread is 1
        ("experts", 0),
        ("code", 0),
        ("encoder_depth", 0),
        ("clustering_depth", -1),
        ("expert_width", 0),
        ("neighbors", 0),
        ("dropout", -0.1),
        ("dropout", 1.0),
        ("dropout", float("nan")),
        ("radius", 0.0),
        ("radius", float("nan")),
        ("learning_rate", 0.0),
        ("learning_rate", -1.0),
        ("kl_weight", -1.0),
        ("depict_weight", float("nan")),
        ("depict_from", 1.5),
        ("batch", 1),  # no variance for batch norm
        ("steps", -1),
        ("metric", "cosine"),
        ("similarity", "knn"),
        ("activation", "gelu"),
        ("schedule", "cosine"),
        ("resolution", "none"),
    ],
)
def test_a_value_outside_the_limits_is_refused(name: str, value: Any) -> None:
    with pytest.raises(SettingError, match=f"{name} must be .*, not ") as caught:
        replace(Settings(), **{name: value})
    assert caught.value.name == name


@pytest.mark.parametrize(
    ("name", "value"),
    [("landmarks", 0), ("clustering_depth", 0), ("dropout", 0.0), ("steps", 0), ("batch", 2), ("depict_from", 1.0)],
)
def test_limits_are_allowed(name: str, value: Any) -> None:
    assert getattr(replace(Settings(), **{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("experts", "25", "a whole number"),
        ("experts", 25.0, "a whole number"),
        ("experts", True, "a whole number"),
        ("experts", None, "a whole number"),
        ("radius", "2", "a finite number"),
        ("radius", True, "a finite number"),
        ("radius", float("inf"), "a finite number"),
        ("radius", 10**400, "a finite number"),
        ("posterior_noise", 1, "true or false"),
        ("metric", 3, "text"),
        ("preset", None, "text"),
    ],
)
def test_plain_values_of_another_type_are_refused(name: str, value: object, expected: str) -> None:
    with pytest.raises(SettingError, match=f"{name} must be {expected}, not"):
        settings_from_dict({name: value})


def test_every_setting_is_described() -> None:
    assert all(setting.metadata.get("description") for setting in fields(Settings))


def test_a_whole_number_is_allowed_for_a_float() -> None:
    assert settings_from_dict({"radius": 2}).radius == 2.0


def test_the_error_for_unknown_names_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown settings experst, zeal; known settings: .*experts") as caught:
        settings_from_dict({"zeal": 1, "experst": 3, "steps": 2})
    assert all(field.name in str(caught.value) for field in fields(Settings))
