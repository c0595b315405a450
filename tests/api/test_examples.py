"""The examples in the docstrings of the Python API run and print what they say."""

import doctest
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest

import cytovae as cv
from cytovae import settings

ROOT = Path(__file__).parents[2]
MODULES = ("cytovae.api.cells", "cytovae.api.model", "cytovae.api.clusters", "cytovae.metrics", "cytovae.name_scores")


@pytest.mark.slow
@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a default of fewer steps and views, which finds the same clusters in the few cells of an example."""
    quick = replace(settings.PRESETS["default"], steps=200, views=1, support=0)
    monkeypatch.setattr(settings, "PRESETS", {**settings.PRESETS, "default": quick})
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(import_module(module))
    assert result.attempted > 0
    assert result.failed == 0


def test_every_public_function_has_an_example() -> None:
    functions = [getattr(cv, name) for name in cv.__all__ if name[0].islower()]
    assert len(functions) >= 10
    assert [function.__name__ for function in functions if ">>>" not in (function.__doc__ or "")] == []
