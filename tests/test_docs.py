"""The documentation: generated pages are up to date, links and commands work, figures agree with docs/results."""

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from cytovae.cli.main import app

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TEXTS = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "sample_data" / "README.md"])
WRITTEN = [text for text in TEXTS if text.parent.name != "results"]  # by hand
PICTURES = sorted((DOCS / "pictures").iterdir())


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def commands(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*words, name))


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def command_lines(text: str) -> list[str]:
    """The calls of cytovae in the shell blocks, without comments, pipes and elided arguments."""
    code = "\n".join(blocks(text, "sh")).replace("\\\n", " ")
    lines = [re.split(r"\s#|[|&>]", line)[0].strip() for line in code.splitlines()]
    return [line for line in lines if line.startswith("cytovae ") and not re.search(r"…|\.\.\.|\[", line)]


COMMAND_LINES = sorted(
    {line for text in WRITTEN if text.name != "cli.md" for line in command_lines(text.read_text("utf-8"))}
)


@pytest.mark.parametrize("script", ["make_cli.py", "make_modules.py", "make_architecture.py"])
def test_generated_pages_are_up_to_date(script: str) -> None:
    done = subprocess.run([sys.executable, str(DOCS / script), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("words", "command"), list(commands(typer.main.get_command(app))))
def test_every_help_has_an_example_of_known_options(words: tuple[str, ...], command: Any) -> None:
    example = re.search(r"Example: (cytovae .+)", command.help)
    assert example, words
    assert example[1].startswith(" ".join(("cytovae", *words)))
    if not getattr(command, "commands", {}):
        known = {name for param in command.params for name in param.opts}
        own = re.split(r"[|&]", example[1])[0]
        # `workflow benchmark` passes options that it does not know to the benchmark, which refuses them.
        handed_on = bool(command.context_settings.get("ignore_unknown_options"))
        assert handed_on or set(re.findall(r" (--?[a-z][a-z-]*)", own)) <= known


@pytest.mark.parametrize("text", TEXTS, ids=name_of)
def test_links_lead_somewhere(text: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", text.read_text("utf-8")):
        if not re.match(r"https?://|mailto:", link):
            target, _, anchor = link.partition("#")
            linked = (text.parent / target).resolve() if target else text
            assert linked.exists(), f"{name_of(text)} links to {link}"
            if anchor:
                assert anchor in anchors(linked), f"{name_of(text)} links to {link}"


def anchors(text: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_documented_commands_are_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is parsed by the real app; --print-config keeps it from doing anything."""
    monkeypatch.chdir(tmp_path)
    for folder in ("DIR", "data", "wells", "results"):  # options that must be folders
        (tmp_path / folder).mkdir()
    (tmp_path / "sample.fcs").touch()
    words = shlex.split(line)[1:]
    if words[:3] == ["workflow", "benchmark", "-o"]:  # the rest is a call of the benchmark
        words = ["benchmark", *words[4:], "-o", words[3]]
    result = CliRunner().invoke(app, [*words, "--print-config"])
    assert result.exit_code == 0, result.output


def test_commands_are_found_in_the_documentation() -> None:
    assert len(command_lines((ROOT / "README.md").read_text("utf-8"))) >= 10
    assert len(command_lines((DOCS / "walkthrough.md").read_text("utf-8"))) == 8


def test_documented_python_runs_as_far_as_names_go() -> None:
    """The names of the API in Python blocks exist."""
    import cytovae

    code = "\n".join(block for text in WRITTEN for block in blocks(text.read_text("utf-8"), "python"))
    names = set(re.findall(r"\bcv\.(\w+)", code))
    assert names
    assert names <= set(cytovae.__all__)


def test_make_targets_in_the_documentation_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE))
    for text in TEXTS:
        for words in re.findall(r"`make ([a-z][a-z -]*)", text.read_text("utf-8")):
            assert set(words.split()) <= targets, f"{name_of(text)}: make {words}"


# --- the README ---


def test_the_readme_is_short() -> None:
    lines = (ROOT / "README.md").read_text("utf-8").splitlines()
    assert len(lines) <= 160
    first_screen = "\n".join(lines[:20])
    for part in ("docs/pictures/overview.png", "make install", *(f"cytovae {name} " for name in FOUR_COMMANDS)):
        assert part in first_screen


FOUR_COMMANDS = ("inspect", "train", "assign", "report")


def test_the_readme_has_the_commands_that_set_everything_up() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    assert "`make demo`" in text
    assert "`make test`" in text


def test_figures_in_the_readme_are_those_of_the_results() -> None:
    figures = runpy.run_path(str(DOCS / "make_figures.py"))
    readme = figures["tables"](ROOT / "README.md")["How good and how fast"]
    rows = {row[""]: row for row in readme}
    page = (DOCS / "results" / "benchmark.md").read_text("utf-8")
    side_by_side = page[page.index("## Side by side") :]
    cytovae, others, best = (
        numbers(re.search(rf"^\| {re.escape(method)} \|(.+)$", side_by_side, re.MULTILINE)[1])  # type: ignore[index]
        for method in ("cytovae", "FlowSOM, K by the other data sets", figures["ORACLE"])
    )
    for column, label in (
        (0, "`F_weighted`, mean of eleven gated data sets"),
        (1, "`F1_mean`, the same sets"),
    ):
        assert numbers(rows[label]["cytovae, one default"]) == [cytovae[column]]
        assert numbers(rows[label]["FlowSOM"]) == [others[column], best[column]]
    results = figures["tables"](DOCS / "results" / "benchmark.md")["nilsson_rare"]
    rare = {row["method"]: numbers(row["rare_f1"])[0] for row in results}
    row = rows["F1 of a rare population (358 of 44,140 cells)"]
    assert numbers(row["cytovae, one default"]) == [rare["cytovae"]]
    assert numbers(row["FlowSOM"])[0] == max(value for method, value in rare.items() if method.startswith("FlowSOM"))
    speed = figures["tables"](DOCS / "results" / "speed.md")
    for label, heading in (
        ("929,685 cells", "multicenter: 929,685 cells"),
        ("103,372 cells", "bendall: 103,372 cells"),
    ):
        (row,) = (row for name, row in rows.items() if label in name)
        for column, method in (("cytovae, one default", "cytovae"), ("FlowSOM", "FlowSOM, K = 10")):
            (measured,) = (entry for entry in speed[heading] if entry["whole processes"] == method)
            wanted = [numbers(measured["seconds"])[-1], *numbers(measured["peak memory, MB"])]
            assert numbers(row[column]) == wanted


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"(?<![\w.])\d[\d,]*\.?\d*", text)]


# --- pictures ---


@pytest.mark.parametrize("picture", PICTURES, ids=name_of)
def test_pictures_are_small_and_shown_somewhere(picture: Path) -> None:
    assert picture.stat().st_size < 400_000
    assert any(f"pictures/{picture.name}" in text.read_text("utf-8") for text in TEXTS)


@pytest.mark.parametrize("picture", [path for path in PICTURES if path.suffix == ".png"], ids=name_of)
def test_pictures_are_in_full_colour(picture: Path) -> None:
    header = picture.read_bytes()[:26]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    assert (header[24], header[25]) == (8, 2)  # eight bits, RGB: no palette


# --- the site and other files ---


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="mkdocs is not installed (pip install '.[docs]')")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "api" / "index.html").stat().st_size > 0


def test_the_site_loads_nothing_from_other_hosts() -> None:
    """No fonts from a server, and no diagrams that a script from elsewhere would draw."""
    assert re.search(r"^ +font: false", (ROOT / "mkdocs.yml").read_text("utf-8"), flags=re.MULTILINE)
    assert not any("```mermaid" in text.read_text("utf-8") for text in TEXTS)


def test_the_version_is_the_same_everywhere() -> None:
    from cytovae import __version__

    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(
        rf"^## ({re.escape(__version__)}|Unreleased)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE
    )


START_ALL = """
import runpy, sys
from pathlib import Path
for script in map(Path, sys.argv[1:]):
    sys.path[0], sys.argv = str(script.parent), [str(script), "--help"]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as ended:
        print(script.name, "ended with", ended.code or 0)
    except BaseException as error:
        print(script.name, "failed:", repr(error))
"""


@pytest.mark.slow
def test_scripts_of_the_results_start() -> None:
    """What they import still exists, and they explain themselves. In one process, because imports take seconds."""
    scripts = sorted([*DOCS.glob("measurements/*.py"), *DOCS.glob("scaling/*.py")])
    command = [sys.executable, "-c", START_ALL, *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    failed = [script.name for script in scripts if f"{script.name} ended with 0\n" not in done.stdout]
    assert not failed, done.stdout + done.stderr
    assert done.stdout.count("usage: ") == len(scripts)
