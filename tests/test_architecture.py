"""The lines between the rooms, read from the imports and calls in the sources; and that starting up stays light."""

import ast
import fnmatch
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import cytovae

ROOT = Path(__file__).parents[1]

# --- who may do what: patterns of module paths below the root, without ".py" ---

TORCH = [
    *("cytovae/model", "cytovae/losses", "cytovae/training", "cytovae/assignment", "cytovae/modelfile"),
    *("cytovae/generation", "cytovae/similarity", "cytovae/resolution", "cytovae/landmarks", "cytovae/learning"),
    *("cytovae/novelty", "cytovae/benchmark/*", "cytovae/checkpoint"),
    *("cytovae/optimizer", "cytovae/device"),
]
IMPORTERS = {
    "cytovae.cli": ["cytovae/__main__", "cli/*"],
    "typer": ["cli/*"],
    "rich": ["cli/*"],
    "click": [],  # typer carries its own
    "torch": TORCH,
    "umap": ["cytovae/similarity", "cytovae/benchmark/baselines"],  # there as a method of its own
    "pynndescent": ["cytovae/similarity"],
    "flowsom": ["cytovae/benchmark/baselines"],  # GPL, and in a process of their own
    "phenograph": ["cytovae/benchmark/baselines"],
    "pickle": [],
    "dill": [],
}
OPENERS = [
    *(
        "cytovae/fcs",
        "cytovae/fcs_*",
        "cytovae/panel",
        "cytovae/gates",
        "cytovae/modelfile",
        "cytovae/outputs",
        "cytovae/outputs_*",
    ),
    *("cytovae/event_files", "cytovae/compensation"),  # cells in other formats, a matrix in a table
    *("cytovae/report", "cytovae/report/*", "cytovae/benchmark/*", "cytovae/checkpoint", "cytovae/atomic"),
    *("cli/config", "cytovae/workflow/*"),  # options in a file belong to the command line
    "cli/benchmark",  # shows the table that the benchmark has just written
    "cli/console",  # puts the null device where the caller closed a standard stream
]
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


# --- the checks: source and module path in, complaints out ---


def allowed(module: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatchcase(module, pattern) for pattern in patterns)


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


def forbidden_imports(source: str, module: str) -> list[str]:
    names = set(imported(ast.parse(source)))
    return [
        f"{module} imports {package}"
        for package, importers in IMPORTERS.items()
        if not allowed(module, importers) and any(within(name, package) for name in names)
    ]


def opened_files(source: str, module: str) -> list[str]:
    if allowed(module, OPENERS):
        return []
    tree = ast.parse(source)
    libraries = {library for library in FILE_LIBRARIES if any(within(name, library) for name in imported(tree))}
    calls = {".".join(call).strip(".") for call in called(tree) if call[1] in FILE_CALLS or call in FILE_CALLS_OF}
    return [f"{module} opens files with {what}" for what in sorted(libraries | calls)]


def spoken_words(source: str, module: str) -> list[str]:
    if allowed(module, SPEAKERS):
        return []
    tree = ast.parse(source)
    calls = {call for call in called(tree) if call in EXITS}
    raised = [node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise) and node.exc is not None]
    names = {name.id for part in raised for name in ast.walk(part) if isinstance(name, ast.Name)} & {"SystemExit"}
    return [
        f"{module} speaks or exits: {what}" for what in sorted({".".join(call).strip(".") for call in calls} | names)
    ]


def vague_name(_source: str, module: str) -> list[str]:
    return [f"{module} is named {part}" for part in module.split("/") if part.strip("_") in VAGUE_NAMES]


CHECKS = (forbidden_imports, opened_files, spoken_words, vague_name)


def sources() -> Iterator[tuple[str, str]]:
    for folder in ("cytovae", "cli"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.read_text(encoding="utf-8"), path.relative_to(ROOT).with_suffix("").as_posix()


@pytest.mark.parametrize("check", CHECKS)
def test_the_sources_keep_to_the_lines(check: Callable[[str, str], list[str]]) -> None:
    complaints = [complaint for source, module in sources() for complaint in check(source, module)]
    assert not complaints


def test_the_sources_are_found() -> None:
    modules = [module for _, module in sources()]
    assert {"cytovae/cells", "cytovae/metrics", "cytovae/benchmark/labels", "cli/main", "cli/score"} <= set(modules)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (forbidden_imports, "cytovae/training", "from cytovae.cli import console"),
        (forbidden_imports, "cytovae/training", "from cytovae import cli"),
        (forbidden_imports, "cytovae/metrics", "import torch.nn.functional as F"),
        (forbidden_imports, "cytovae/metrics", "def f():\n    from torch import nn"),
        (forbidden_imports, "cytovae/model", "import umap"),
        (forbidden_imports, "cytovae/landmarks", "from pynndescent import NNDescent"),
        (forbidden_imports, "cli/train", "import click"),
        (forbidden_imports, "cli/train", "import torch"),
        (forbidden_imports, "cytovae/outputs", "import typer"),
        (forbidden_imports, "cytovae/modelfile", "import pickle"),
        (forbidden_imports, "cytovae/assignment", "import phenograph"),
        (opened_files, "cytovae/training", "with open('x') as f: pass"),
        (opened_files, "cytovae/training", "path.open()"),
        (opened_files, "cytovae/metrics", "Path('x').read_text()"),
        (opened_files, "cytovae/transform", "np.load('x.npy')"),
        (opened_files, "cytovae/landmarks", "pd.read_csv('x')"),
        (opened_files, "cytovae/assignment", "import pyarrow.parquet as pq"),
        (opened_files, "cytovae/generation", "from flowio import FlowData"),
        (opened_files, "cytovae/model", "torch.save(state, 'x')"),
        (opened_files, "cli/score", "from pyarrow import parquet"),
        (spoken_words, "cytovae/training", "print('epoch')"),
        (spoken_words, "cytovae/fcs", "sys.exit(3)"),
        (spoken_words, "cytovae/fcs", "raise SystemExit(3)"),
        (vague_name, "cytovae/utils", ""),
        (vague_name, "cytovae/benchmark/_helpers", ""),
    ],
)
def test_a_crossed_line_is_seen(check: Callable[[str, str], list[str]], module: str, source: str) -> None:
    assert check(source, module)


@pytest.mark.parametrize(
    ("check", "module", "source"),
    [
        (forbidden_imports, "cytovae/similarity", "import umap, torch"),
        (forbidden_imports, "cytovae/benchmark/paper", "import torch"),
        (forbidden_imports, "cytovae/__main__", "from cytovae.cli.main import run"),
        (forbidden_imports, "cli/train", "from cytovae.cli import console\nimport typer"),
        (forbidden_imports, "cytovae/metrics", "import torchish\nfrom cytovae import clinical"),
        (opened_files, "cytovae/fcs", "open('x')"),
        (opened_files, "cytovae/report/page", "path.write_text('x')"),
        (opened_files, "cytovae/metrics", "json.dumps(x)\nweights.load()\nmodel.save()"),
        (spoken_words, "cli/train", "print('x')\nsys.exit(1)"),
        (spoken_words, "cytovae/training", "'print(1)'\nblueprint(1)"),
        (vague_name, "cytovae/baselines", ""),
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
