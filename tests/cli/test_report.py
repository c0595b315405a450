"""`cytovae report` through the real app: outputs, errors, and the page in a browser."""

import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from helpers.browser import opened
from helpers.command import Command
from helpers.study import MARKERS, write_study

from cytovae.cells import Assignment
from cytovae.errors import ModelError, OutputError, UsageError
from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner

pytestmark = pytest.mark.slow

pytest.importorskip("matplotlib", reason="the report's extra is not installed")
pytest.importorskip("jinja2", reason="the report's extra is not installed")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def model(study: list[Path]) -> Path:
    return study[0].parent / "model"


COMMAND = Command(("report",), ("--device", "cpu", "--threads", "1"))
run = COMMAND.run
done = COMMAND.done
refused = COMMAND.refused


def test_a_page_and_figures_are_written(tmp_path: Path, model: Path, study: list[Path]) -> None:
    page, figures = tmp_path / "report.html", tmp_path / "figures"
    result = done(model, *study, "--gates", "beside", "-o", page, "--figures", figures)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["figures", "report.html"]
    assert f"wrote {page}" in result.stderr
    assert result.stdout == ""
    stems = sorted(path.stem for path in figures.glob("*.png"))
    assert stems == sorted(path.stem for path in figures.glob("*.svg"))
    assert {"heatmap", "merge_tree", "umap_clusters", "umap_populations", "confusion", "abundance"} <= set(stems)
    for path in figures.glob("*.svg"):
        assert ElementTree.parse(path).getroot().tag.endswith("svg")


@pytest.mark.slow
def test_without_files_it_reports_on_the_training_files(tmp_path: Path, model: Path, study: list[Path]) -> None:
    done(model, *study, "-o", tmp_path / "named.html", "--quiet")
    done(model, "-o", tmp_path / "unnamed.html", "--quiet")
    assert (tmp_path / "named.html").read_bytes() == (tmp_path / "unnamed.html").read_bytes()


def test_missing_training_files_must_be_named(tmp_path: Path) -> None:
    paths = write_study(tmp_path, (40, 30))
    paths[1].unlink()
    message = refused(UsageError, tmp_path / "model", "-o", tmp_path / "report.html")
    assert paths[1].name in message
    assert "name the files" in message


def test_the_tree_can_be_cut_into_another_number_of_clusters(tmp_path: Path, model: Path, study: list[Path]) -> None:
    done(model, study[1], "--clusters", 2, "-o", tmp_path / "report.html", "--quiet")
    assert ", 2 clusters" not in (text := (tmp_path / "report.html").read_text(encoding="utf-8"))
    assert text.count('class="swatch"') == 2 * 2  # in the tables of clusters and of abundances
    message = refused(UsageError, model, study[1], "--clusters", 50, "-o", tmp_path / "other.html")
    assert "50 clusters" in message


def test_nothing_is_replaced_without_force(tmp_path: Path, model: Path, study: list[Path]) -> None:
    page = tmp_path / "report.html"
    page.write_text("mine")
    assert "--force" in refused(OutputError, model, study[1], "-o", page)
    assert page.read_text() == "mine"
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "heatmap.png").write_text("mine")
    (figures / "other.txt").write_text("mine")
    assert "--force" in refused(OutputError, model, study[1], "-o", tmp_path / "new.html", "--figures", figures)
    assert not (tmp_path / "new.html").exists()
    done(model, study[1], "-o", page, "--figures", figures, "--force", "--quiet")
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (figures / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert (figures / "other.txt").read_text() == "mine"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["figures", "report.html"]


def test_forbidden_outputs_raise_an_error(tmp_path: Path, model: Path, study: list[Path]) -> None:
    assert "over an input" in refused(UsageError, model, *study, "-o", study[0], "--force")
    assert "model's folder" in refused(UsageError, model, *study, "-o", model / "report.html")
    assert "no folder" in refused(OutputError, model, *study, "-o", tmp_path / "none" / "report.html")
    assert "not a folder" in refused(OutputError, model, *study, "-o", tmp_path / "r.html", "--figures", study[0])
    refused(ModelError, tmp_path / "none", *study, "-o", tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("package", ["matplotlib", "jinja2"])
def test_without_the_extra_the_error_names_what_to_install(
    tmp_path: Path, model: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    message = refused(UsageError, model, *study, "-o", tmp_path / "report.html")
    assert f"the report needs {package}" in message
    assert "pip install '.[report]' in a checkout" in message


def write_h5ad(path: Path, study: list[Path]) -> None:
    """The study as an .h5ad file: the layer raw, and the columns donor and gate of obs."""
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    files = [open_fcs(path) for path in study]
    gates = pd.concat([pd.read_csv(path.with_suffix(".gates.csv"), skip_blank_lines=False) for path in study])
    names = [channel.label for channel in files[0].channels]
    obs = pd.DataFrame(
        {"donor": np.repeat(["one", "two"], [file.n_events for file in files]), "gate": gates["population"].to_numpy()},
    ).set_axis([f"c{row}" for row in range(len(gates))])
    raw = np.concatenate([file.read() for file in files])
    var = pd.DataFrame({"channel": [channel.name for channel in files[0].channels]}, index=names)
    table = anndata.AnnData(X=np.zeros_like(raw), obs=obs, var=var, layers={"raw": raw})
    table.write_h5ad(path)


@pytest.mark.slow
def test_anndata_files_are_read_as_by_assign(tmp_path: Path, model: Path, study: list[Path]) -> None:
    write_h5ad(tmp_path / "x.h5ad", study)
    reading = ("--layer", "raw", "--file-key", "donor", "--gates", "gate")
    done(model, tmp_path / "x.h5ad", *reading, "-o", tmp_path / "report.html", "--quiet")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    done(model, *study, "--gates", "beside", "-o", tmp_path / "fcs.html", "--quiet")
    from_fcs = (tmp_path / "fcs.html").read_text(encoding="utf-8")
    assert ">one</td>" in text
    for page in (text, from_fcs):
        assert "cells assigned" in page
    assert tables_of(text)[-1] == tables_of(from_fcs)[-1]  # populations: clusters, precision, recall


@pytest.mark.slow
def test_without_files_the_training_files_are_read_as_they_were(tmp_path: Path, study: list[Path]) -> None:
    file, trained = tmp_path / "x.h5ad", tmp_path / "model"
    write_h5ad(file, study)
    reading = ("--layer", "raw", "--file-key", "donor")
    few = ("--steps", 3, "--experts", 12, "--landmarks", 0, "--transform", "arcsinh", "--cofactor", 5, "--quiet")
    Command(("train",)).done(file, *reading, *few, "-o", trained, "--device", "cpu")
    done(trained, file, *reading, "-o", tmp_path / "named.html", "--quiet")
    told = done(trained, "-o", tmp_path / "remembered.html")
    assert (tmp_path / "remembered.html").read_bytes() == (tmp_path / "named.html").read_bytes()
    assert "no UMAP" not in told.stderr  # landmarks are found in the parts they are from
    assert ">two</td>" in (tmp_path / "remembered.html").read_text(encoding="utf-8")


def tables_of(page: str) -> list[str]:
    """The tables between the headings of the gates and of the next section."""
    section = page.partition('<section id="gates">')[2].partition("</section>")[0]
    return section.split("<table>")[1:]


# --- in a browser ---


@pytest.mark.browser
def test_a_browser_shows_the_page_without_errors(tmp_path: Path, model: Path, study: list[Path]) -> None:
    page = tmp_path / "report.html"
    done(model, *study, "--gates", "beside", "-o", page, "--quiet")
    shown = opened(page, tmp_path / "profile")
    errors = [line for line in shown.stderr.splitlines() if "CONSOLE" in line]
    assert not errors
    assert f">{len(MARKERS)} of {len(MARKERS)}</output>" in shown.stdout  # written by the script
    assert "&lt;script&gt;alert(1)&lt;/script&gt; · channel Xx1Di" in shown.stdout
    assert "<script>alert" not in shown.stdout


@pytest.mark.browser
def test_a_browser_reports_a_foreign_script(tmp_path: Path, model: Path, study: list[Path]) -> None:
    page = tmp_path / "report.html"
    done(model, study[1], "-o", page, "--quiet")
    foreign = page.read_text(encoding="utf-8").replace("<h2>Summary</h2>", "<script>alert(1)</script>")
    page.write_text(foreign, encoding="utf-8")
    shown = opened(page, tmp_path / "profile")
    assert any("CONSOLE" in line and "Content Security Policy" in line for line in shown.stderr.splitlines())


@pytest.mark.browser
def test_the_search_box_filters_the_markers(tmp_path: Path, model: Path, study: list[Path]) -> None:
    page = tmp_path / "report.html"
    done(model, study[1], "-o", page, "--quiet")
    typed = page.read_text(encoding="utf-8").replace('<input id="find"', '<input id="find" value="hla"')
    page.write_text(typed, encoding="utf-8")
    shown = opened(page, tmp_path / "profile")
    assert f">1 of {len(MARKERS)}</output>" in shown.stdout
    assert shown.stdout.count('hidden="">\n      <div class="picture') == len(MARKERS) - 1


MEASURE = """
<script>
const cut = Array.from(document.querySelectorAll("table")).filter(table => {
  const box = table.parentElement;  // a closed <details> has no size
  return box.clientWidth && table.offsetWidth > box.clientWidth && getComputedStyle(box).overflowX !== "auto";
});
const page = document.documentElement;
document.body.dataset.measured = [cut.length, page.scrollWidth > page.clientWidth,
  Array.from(document.querySelectorAll("#clusters th")).map(cell => cell.textContent.trim()).slice(0, 5).join("|"),
  Array.from(document.querySelectorAll("#clusters td:first-child")).map(cell => parseInt(cell.textContent)).join("|"),
].join(";");
</script>
"""


@pytest.mark.browser
@pytest.mark.parametrize("width", [1300, 800])
def test_no_table_hides_a_column(tmp_path: Path, model: Path, study: list[Path], width: int) -> None:
    """Wide tables scroll, and the gate of a cluster stands beside its number."""
    page = tmp_path / "report.html"
    (tmp_path / "names.csv").write_text("cluster,name\n1,a cell with quite a long name\n3,T\n")
    done(model, *study, "--gates", "beside", "--names", tmp_path / "names.csv", "-o", page, "--quiet")
    text = page.read_text(encoding="utf-8")
    policy = text[text.index('<meta http-equiv="Content-Security-Policy"') :].partition(">")[0] + ">"
    page.write_text(text.replace(policy, "").replace("</body>", f"{MEASURE}</body>"), encoding="utf-8")
    shown = opened(page, tmp_path / "profile", f"--window-size={width},900").stdout
    assert 'data-measured="0;false;cluster|gate|purity|gated|cells;1|2|3|4"' in shown


# --- names, samples, novelty ---


@pytest.mark.slow
def test_names_samples_and_novelty_are_shown(
    tmp_path: Path, model: Path, study: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Assigner.assign

    def with_novelty(self: Assigner, values: np.ndarray) -> Assignment:
        # Cells without CD3 are novel here.
        return replace(plain(self, values), novelty=np.where(values[:, 0] < 2, 0.95, 0.1).astype(np.float32))

    monkeypatch.setattr(Assigner, "has_novelty", True)
    monkeypatch.setattr(Assigner, "assign", with_novelty)
    (tmp_path / "names.csv").write_text("cluster,name\n1,<b>T</b> cell\n2,<b>T</b> cell\n")
    rows = [f"{path.name},sample {number},batch {number}" for number, path in enumerate(study)]
    (tmp_path / "samples.csv").write_text("\n".join(["file,sample,batch", *rows]))
    page, figures = tmp_path / "report.html", tmp_path / "figures"
    tables = ("--names", tmp_path / "names.csv", "--samples", tmp_path / "samples.csv")
    done(model, *study, *tables, "--gates", "beside", "-o", page, "--figures", figures, "--quiet")
    text = page.read_text(encoding="utf-8")
    raw = np.concatenate([open_fcs(path).read([0]) for path in study])[:, 0]
    n_novel = int((np.arcsinh(raw / 5) < 2).sum())
    assert f"{n_novel:,} cells ({100 * n_novel / len(raw):.2f} %) have a novelty of 0.9 or more" in text
    assert "1 &lt;b&gt;T&lt;/b&gt; cell" in text
    assert "</span>3 unknown" in text
    assert {"heatmap_populations", "abundance_populations", "umap_names", "confusion_populations"} <= {
        path.stem for path in figures.glob("*.svg")
    }
    assert "<b>T</b>" not in text
    assert text.count("</span>1 &lt;b&gt;T") >= 2  # in the tables of clusters and of abundances
    assert text.count("batch 1") == 2  # in the summary and the table of abundances
    assert {"novelty", "umap_novelty"} <= {path.stem for path in figures.glob("*.svg")}
    plain_page = tmp_path / "plain.html"
    monkeypatch.undo()
    done(model, *study, "-o", plain_page, "--quiet")
    assert "novelty" not in plain_page.read_text(encoding="utf-8").partition("</style>")[2]
