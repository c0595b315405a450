"""A comparison in the report: read back from its folder, linked with clusters, and refused where it is none."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("matplotlib", reason="the report's extra is not installed")
pytest.importorskip("jinja2", reason="the report's extra is not installed")
pytest.importorskip("statsmodels", reason="the extra compare is not installed")

from helpers.command import Command
from helpers.study import write_study

from cytovae.comparison.stored import read_comparison
from cytovae.errors import InputError

pytestmark = pytest.mark.slow

DEVICE = ("--device", "cpu", "--threads", "1", "--quiet")
REPORT = Command(("report",), DEVICE)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of six samples of two groups, a model, and a comparison of the groups."""
    folder = tmp_path_factory.mktemp("study")
    paths = write_study(folder, (120, 130, 140, 150, 160, 170))
    Command(("assign",), DEVICE).done(folder / "model", *paths, "-o", folder / "cells.parquet")
    rows = [f"{path.name},{'<i>a</i>' if number < 3 else 'b'}" for number, path in enumerate(paths)]
    (folder / "samples.csv").write_text("file,group\n" + "\n".join(rows) + "\n")
    sheet = ("--samples", folder / "samples.csv", "--condition", "group")
    Command(("compare",)).done(folder / "cells.parquet", *sheet, "-o", folder / "comparison")
    return folder


def section(page: Path) -> str:
    """The section of the page about the comparison."""
    found = re.search(r'<section id="comparison">.*?</section>', page.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[0]


def test_the_folder_is_read_as_pandas_reads_it(study: Path) -> None:
    found = read_comparison(study / "comparison")
    table = pd.read_csv(study / "comparison" / "differential_abundance.csv").sort_values("p", kind="stable")
    assert [difference.population for difference in found.abundance] == table["population"].tolist()
    for name, column in (("effect", "effect"), ("low", "ci_low"), ("high", "ci_high"), ("p", "p"), ("fdr", "fdr")):
        values = [getattr(difference, name) for difference in found.abundance]
        np.testing.assert_allclose(values, table[column], rtol=1e-12)
    assert (found.condition, found.reference, dict(found.groups)) == ("group", "<i>a</i>", {"<i>a</i>": 3, "b": 3})
    assert found.levels == ()
    assert [picture.name for picture in found.pictures] == [
        *("samples_mds", "abundance_dots", "abundance_effects", "abundance_volcano")
    ]


def test_the_page_shows_it_and_links_its_populations(study: Path, tmp_path: Path) -> None:
    REPORT.done(study / "model", "--comparison", study / "comparison", "-o", tmp_path / "report.html")
    shown = section(tmp_path / "report.html")
    assert shown.count("data:image/png;base64,") == 4
    table = pd.read_csv(study / "comparison" / "differential_abundance.csv").sort_values("p", kind="stable")
    linked = re.findall(r'<tr data-clusters="(\d+)"', shown)
    assert [f"cluster {cluster}" for cluster in linked] == table["population"].tolist()
    first = table.iloc[0]
    assert f"<td>{first['effect']:+.2f}</td><td>{first['ci_low']:+.2f}</td><td>{first['ci_high']:+.2f}</td>" in shown
    assert f"<td>{first['p']:.2g}</td>" in shown
    assert "&lt;i&gt;a&lt;/i&gt;" in shown
    assert "<i>" not in shown


def test_a_comparison_of_other_cells_is_not_linked(study: Path, tmp_path: Path) -> None:
    files = sorted(study.glob("*.fcs"))[:4]
    REPORT.done(study / "model", *files, "--comparison", study / "comparison", "-o", tmp_path / "report.html")
    shown = section(tmp_path / "report.html")
    assert "data-clusters" not in shown
    assert "not those of this report" in shown


def test_without_pictures_it_shows_tables(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "comparison", tmp_path / "comparison")
    shutil.rmtree(tmp_path / "comparison" / "figures")
    REPORT.done(study / "model", "--comparison", tmp_path / "comparison", "-o", tmp_path / "report.html")
    assert "data:image" not in section(tmp_path / "report.html")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.rmtree(folder), "no such folder"),
        (lambda folder: (folder / "summary.json").unlink(), "summary.json: found no such file"),
        (lambda folder: (folder / "summary.json").write_text("[1]"), "found list, expected a JSON object"),
        (lambda folder: (folder / "summary.json").write_text("{"), "expected a JSON object"),
        (lambda folder: edit_summary(folder, schema_version=99), "schema_version: found 99, expected 1"),
        (lambda folder: edit_summary(folder, groups=[3]), "groups: found [3]"),
        (lambda folder: (folder / "differential_abundance.csv").unlink(), "differential_abundance.csv"),
        (lambda folder: (folder / "differential_abundance.csv").write_text("a,b\n1,2\n"), "no column population"),
        (lambda folder: edit_table(folder, "p", "<b>"), "line 2, p: found '<b>'"),
        (lambda folder: edit_table(folder, "effect", "inf"), "line 2, effect: found 'inf'"),
        (lambda folder: (folder / "figures" / "samples_mds.png").write_text("<svg>"), "samples_mds.png: picture"),
        (lambda folder: cut(folder / "figures" / "samples_mds.png"), "samples_mds.png: picture"),
    ],
)
def test_a_foreign_or_damaged_folder_is_refused(study: Path, tmp_path: Path, change: object, message: str) -> None:
    folder = tmp_path / "comparison"
    shutil.copytree(study / "comparison", folder)
    change(folder)  # type: ignore[operator]
    said = REPORT.refused(InputError, study / "model", "--comparison", folder, "-o", tmp_path / "report.html")
    assert message in said
    assert str(folder) in said
    assert not (tmp_path / "report.html").exists()


def edit_summary(folder: Path, **fields: object) -> None:
    """Replace fields of the summary."""
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | fields))


def edit_table(folder: Path, column: str, text: str) -> None:
    """Replace a cell in the first row of the table of abundances."""
    path = folder / "differential_abundance.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.loc[0, column] = text
    table.to_csv(path, index=False)


def cut(path: Path) -> None:
    """Keep the first half of a file."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
