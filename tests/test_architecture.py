"""The architecture: who imports what, sizes of modules and functions, and a light start."""

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import cytovae

ROOT = Path(__file__).parents[1]

# --- who may import what --------------------------------------------------------------------------------------------

# Each row may import itself and the rows above it that it names. There is no way back up.
WINGS: dict[str, set[str]] = {
    "errors": set(),
    "plain_file": {"errors"},
    "toml_file": {"errors", "plain_file"},
    "atomic": {"errors", "plain_file"},
    "delimited": {"errors", "plain_file"},
    "environment": {"errors"},
    "cells": {"errors"},
    "settings": {"errors"},
    "metrics": {"errors", "cells"},
    "name_scores": {"cells", "metrics"},
    "drawing": set(),
    "fcs": {"errors", "atomic"},
    "events": {"errors", "plain_file", "atomic", "delimited", "fcs"},
    "annotations": {"errors", "plain_file", "delimited", "cells", "fcs", "events"},
    "populations": {"errors", "settings", "metrics"},
    "naming": {"errors", "annotations", "populations"},
    "network": {"errors", "settings", "populations"},
    "inference": {"errors", "cells", "settings", "events", "annotations", "populations", "naming", "network"},
    "model_folder": {
        *("errors", "plain_file", "atomic", "environment", "cells", "settings"),
        *("events", "annotations", "populations", "naming", "network", "inference"),
    },
    "outputs": {"errors", "plain_file", "atomic", "delimited", "cells", "fcs", "events", "annotations", "inference"},
    "quality": {"errors", "plain_file", "atomic", "delimited", "fcs", "events"},
    "study": {
        *("errors", "plain_file", "atomic", "cells", "settings", "events", "annotations"),
        *("populations", "naming", "network", "inference", "model_folder", "outputs", "quality"),
    },
    "comparison": {
        *("errors", "plain_file", "atomic", "delimited", "drawing", "fcs", "events", "annotations"),
        *("inference", "outputs"),
    },
    "report": {
        *("errors", "plain_file", "delimited", "atomic", "cells", "settings", "metrics", "drawing", "events"),
        *("annotations", "populations", "naming", "inference", "model_folder", "outputs", "quality", "study"),
        "comparison",
    },
    "benchmark": {
        *("errors", "plain_file", "toml_file", "atomic", "environment", "cells", "settings", "metrics"),
        *("name_scores", "events", "annotations", "inference", "study"),
    },
    "experiments": {
        *("errors", "atomic", "environment", "cells", "settings", "metrics", "fcs"),
        *("populations", "network", "inference", "study", "benchmark"),
    },
    "workflow": {"errors", "plain_file", "atomic", "annotations", "study"},
    "api": {
        *("errors", "atomic", "environment", "cells", "settings", "metrics"),
        *("fcs", "events", "annotations", "network", "inference", "model_folder", "outputs", "study"),
    },
}

# Which wings may import a library; "cli" is the command line.
LIBRARIES: dict[str, set[str]] = {
    "typer": {"cli"},
    "rich": {"cli"},
    "click": set(),  # typer carries its own
    "torch": {"populations", "network", "inference", "model_folder", "study", "experiments"},
    "umap": {"populations", "benchmark"},  # in the benchmark as a method of its own
    "pynndescent": set(),
    "flowsom": set(),  # GPL: only in processes of their own, see BASELINES
    "phenograph": set(),
    "scyan": set(),
    "fcsparser": {"fcs"},
    "flowio": {"fcs"},
    "safetensors": {"model_folder"},
    "matplotlib": {"drawing", "comparison", "report", "benchmark", "experiments"},
    "jinja2": {"report"},
    "statsmodels": {"comparison"},
    "pickle": set(),
    "dill": set(),
}
UMAP_ONLY_IN = {"cytovae/populations/umap_import", "cytovae/benchmark/methods"}

# Wings that open files. The others take arrays, tensors and text.
OPENERS = {
    *(
        "plain_file",
        "toml_file",
        "atomic",
        "delimited",
        "environment",
        "fcs",
        "events",
        "annotations",
        "model_folder",
        "outputs",
        "comparison",
        "quality",
        "report",
        "benchmark",
    ),
    *("experiments", "workflow", "cli"),
}

SPEAKERS = ["cli/*", "cytovae/__main__", "cytovae/benchmark/job"]  # the job is a process of its own

VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc", "manager", "trainer", "pipeline"}

# Importing these is opening files in all but name.
FILE_LIBRARIES = ("pyarrow.parquet", "pyarrow.csv", "pyarrow.feather", "safetensors", "flowio", "fcsparser", "anndata")
FILE_CALLS = {
    *("open", "read_text", "read_bytes", "write_text", "write_bytes", "NamedTemporaryFile", "mkstemp"),
    *("memmap", "fromfile", "tofile", "loadtxt", "savetxt", "genfromtxt", "savez", "savez_compressed"),
    *("read_csv", "read_parquet", "to_csv", "to_parquet", "read_h5ad", "write_h5ad"),
}
# Names that mean a file only when these modules own them: np.load, json.dump, torch.save.
FILE_CALLS_OF = {
    ("np", "load"),
    ("np", "save"),
    ("json", "load"),
    ("json", "dump"),
    ("torch", "load"),
    ("torch", "save"),
}
EXITS = {("", "print"), ("", "exit"), ("", "quit"), ("sys", "exit"), ("os", "_exit"), ("os", "abort")}


# --- checks: source and module path to complaints --------------------------------------------------------------------


def allowed(module: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)


@cache
def parsed(source: str) -> ast.Module:
    """The syntax tree of a module. Several checks look at the same module."""
    return ast.parse(source)


def imported(tree: ast.AST) -> Iterator[str]:
    """Dotted names of everything imported, at the top or inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def called(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Owner and name of every call: ("np", "load"), ("", "print"); the owner is "" where it is not a plain name."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            yield "", node.func.id
        elif isinstance(node.func, ast.Attribute):
            yield node.func.value.id if isinstance(node.func.value, ast.Name) else "", node.func.attr


def wing_of(module: str) -> str:
    """The wing of a module path: "cytovae/fcs/text" -> "fcs", "cytovae/cells" -> "cells", "cli/train" -> "cli"."""
    first, *rest = module.split("/")
    return "cli" if first == "cli" else rest[0]


def forbidden_imports(source: str, module: str) -> list[str]:
    names, wing = set(imported(parsed(source))), wing_of(module)
    ours = {name.split(".")[1] for name in names if name.startswith("cytovae.")} - {wing, "__version__"}
    if wing not in WINGS:  # the command line may import everything, the package itself only the API
        ours = {"cli": set(), "__main__": ours - {"cli"}, "__init__": ours - {"api"}}[wing]
    complaints = [f"{module} imports cytovae.{other}" for other in sorted(ours - WINGS.get(wing, set()))]
    complaints += [
        f"{module} imports {library}"
        for library, wings in LIBRARIES.items()
        if wing not in wings and any(within(name, library) for name in names)
    ]
    if any(within(name, "umap") for name in names) and module not in UMAP_ONLY_IN:
        complaints.append(f"{module} imports umap")
    return complaints


def opened_files(source: str, module: str) -> list[str]:
    if wing_of(module) in OPENERS:
        return []
    tree = parsed(source)
    libraries = {library for library in FILE_LIBRARIES if any(within(name, library) for name in imported(tree))}
    calls = {".".join(call).strip(".") for call in called(tree) if call[1] in FILE_CALLS or call in FILE_CALLS_OF}
    return [f"{module} opens files with {what}" for what in sorted(libraries | calls)]


def spoken_words(source: str, module: str) -> list[str]:
    if allowed(module, SPEAKERS):
        return []
    tree = parsed(source)
    calls = {call for call in called(tree) if call in EXITS}
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    names = {name.id for part in raised for name in ast.walk(part) if isinstance(name, ast.Name)} & {"SystemExit"}
    return [
        f"{module} speaks or exits: {what}" for what in sorted({".".join(call).strip(".") for call in calls} | names)
    ]


def vague_name(_source: str, module: str) -> list[str]:
    return [f"{module} is named {part}" for part in module.split("/") if part.strip("_") in VAGUE_NAMES]


def too_long(source: str, module: str) -> list[str]:
    """Modules over 350 lines and functions over 80; the commands count without their options."""
    complaints = [f"{module} has {n} lines"] if (n := source.count("\n")) > 350 else []
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = node.body[0].lineno if node.name.endswith("_cli") else node.lineno
            if (n := (node.end_lineno or 0) - first + 1) > 80:
                complaints.append(f"{module}: {node.name} has {n} lines")
    return complaints


CHECKS = (forbidden_imports, opened_files, spoken_words, vague_name, too_long)


def sources() -> Iterator[tuple[str, str]]:
    for folder in ("cytovae", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.read_text(encoding="utf-8"), path.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("check", CHECKS)
def test_the_sources_follow_the_architecture(check: Callable[[str, str], list[str]]) -> None:
    complaints = [complaint for source, module in sources() for complaint in check(source, module)]
    assert not complaints


def test_the_sources_are_found() -> None:
    modules = [module for _, module in sources()]
    assert {"cytovae/cells", "cytovae/fcs/text", "cytovae/experiments/digits/mnist", "cli/main", "cli/score"} <= set(
        modules
    )


def test_the_table_has_no_way_back_up() -> None:
    above: set[str] = set()
    for wing, others in WINGS.items():
        assert others <= above, f"{wing} may import {others - above}, which come later"
        above.add(wing)


def test_no_module_imports_itself_in_a_circle() -> None:
    names = {module.replace("/", "."): source for source, module in sources() if module.startswith("cytovae/")}
    edges = {name: {other for other in imported(parsed(source)) if other in names} for name, source in names.items()}
    ahead = {name for name in edges if edges[name]}
    while ahead:  # remove modules that import nothing that is left; what remains is a circle
        free = {name for name in ahead if not edges[name] & ahead}
        assert free, f"a circle among {sorted(ahead)}"
        ahead -= free


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (forbidden_imports, "cytovae/network/training_loop", "from cytovae.cli import console"),
        (forbidden_imports, "cytovae/network/model", "from cytovae.inference.assigner import Assigner"),
        (forbidden_imports, "cytovae/fcs/text", "from cytovae.events.panel import Panel"),
        (forbidden_imports, "cytovae/metrics", "import torch.nn.functional as F"),
        (forbidden_imports, "cytovae/metrics", "def f():\n    from torch import nn"),
        (forbidden_imports, "cytovae/populations/neighbors", "import umap"),
        (forbidden_imports, "cytovae/study/sampling", "from pynndescent import NNDescent"),
        (forbidden_imports, "cli/train", "import click"),
        (forbidden_imports, "cli/train", "import torch"),
        (forbidden_imports, "cytovae/outputs/tables", "import typer"),
        (forbidden_imports, "cytovae/model_folder/load", "import pickle"),
        (forbidden_imports, "cytovae/inference/assigner", "import phenograph"),
        (opened_files, "cytovae/network/training_loop", "with open('x') as f: pass"),
        (opened_files, "cytovae/network/training_loop", "path.open()"),
        (opened_files, "cytovae/metrics", "Path('x').read_text()"),
        (opened_files, "cytovae/populations/similarity", "np.load('x.npy')"),
        (opened_files, "cytovae/study/sampling", "pd.read_csv('x')"),
        (opened_files, "cytovae/inference/assigner", "import pyarrow.parquet as pq"),
        (opened_files, "cytovae/inference/generation", "from flowio import FlowData"),
        (opened_files, "cytovae/network/model", "torch.save(state, 'x')"),
        (spoken_words, "cytovae/network/training_loop", "print('epoch')"),
        (spoken_words, "cytovae/fcs/file", "sys.exit(3)"),
        (spoken_words, "cytovae/fcs/file", "raise SystemExit(3)"),
        (vague_name, "cytovae/utils", ""),
        (vague_name, "cytovae/benchmark/_helpers", ""),
        (too_long, "cytovae/cells", "x = 1\n" * 351),
        (too_long, "cli/train", "def f():\n" + "    x = 1\n" * 80),
        (too_long, "cli/train", "def f_cli(\n    a,\n):\n" + "    x = 1\n" * 81),
    ],
)
def test_a_violation_is_found(check: Callable[[str, str], list[str]], module: str, source: str) -> None:
    assert check(source, module)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (forbidden_imports, "cytovae/populations/umap_import", "import umap, torch"),
        (
            forbidden_imports,
            "cytovae/experiments/ablation",
            "import torch\nfrom cytovae.study.train_model import learn",
        ),
        (forbidden_imports, "cytovae/__main__", "from cytovae.cli.main import run"),
        (forbidden_imports, "cli/train", "from cytovae.cli import console\nimport typer"),
        (forbidden_imports, "cytovae/metrics", "import torchish\nfrom cytovae import __version__"),
        (opened_files, "cytovae/fcs/file", "open('x')"),
        (opened_files, "cytovae/report/page", "path.write_text('x')"),
        (opened_files, "cytovae/metrics", "json.dumps(x)\nweights.load()\nmodel.save()"),
        (spoken_words, "cli/train", "print('x')\nsys.exit(1)"),
        (spoken_words, "cytovae/network/training_loop", "'print(1)'\nblueprint(1)"),
        (vague_name, "cytovae/baselines", ""),
        (too_long, "cli/train", "def f_cli(\n" + "    a,\n" * 81 + "):\n    x = 1\n"),
    ],
)
def test_what_is_allowed_is_not_reported(check: Callable[[str, str], list[str]], module: str, source: str) -> None:
    assert not check(source, module)


# --- starting up ---


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60)


def test_starting_up_loads_nothing_heavy() -> None:
    heavy = ("torch", "umap", "sklearn", "pynndescent", "numba", "matplotlib", "jinja2")
    program = f"import sys, cytovae, cytovae.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = run("-c", program)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "[]", "")


@pytest.mark.slow
def test_assigning_loads_nothing_that_only_training_needs(tmp_path: Path) -> None:
    training = ("umap", "sklearn", "pynndescent", "numba", "scipy", "matplotlib", "torch._dynamo")
    model, file = ROOT / "tests" / "golden" / "schema1" / "model", ROOT / "sample_data" / "donor1_baseline.fcs"
    program = f"""
import sys
from cytovae.cli.main import run
sys.argv = ["cytovae", "assign", {str(model)!r}, {str(file)!r}, "-o", {str(tmp_path / "cells.parquet")!r}, "--quiet"]
try:
    run()
finally:
    print([m for m in {training} if m in sys.modules])
"""
    done = run("-c", program)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
    assert (tmp_path / "cells.parquet").stat().st_size > 0


def test_the_version_is_printed_bare() -> None:
    done = run("-m", "cytovae", "--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{cytovae.__version__}\n", "")


def commands() -> list[tuple[str, ...]]:
    """The words of every registered command and group, the app itself first."""

    def walk(command: object, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        yield words
        for name, below in getattr(command, "commands", {}).items():
            yield from walk(below, (*words, name))

    from cytovae.cli.main import app

    return list(walk(typer.main.get_command(app), ()))


def test_every_command_explains_itself() -> None:
    from cytovae.cli.main import app

    assert len(commands()) > 1
    for words in commands():
        shown = CliRunner().invoke(app, [*words, "--help"])
        assert shown.exit_code == 0, words
        first = [line for line in shown.stdout.splitlines() if line.strip() and "Usage" not in line]
        assert first, f"cytovae {' '.join(words)} --help says nothing"
        assert "Usage" in shown.stdout
