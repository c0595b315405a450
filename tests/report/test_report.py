"""Numbers of the report against pandas and examples by hand; pictures and page read back by other libraries."""

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from cytovae.annotations.gates import read_gates_of_files
from cytovae.annotations.sample_sheet import SampleSheet
from cytovae.cells import GateLabels
from cytovae.errors import InputError, UsageError
from cytovae.events.event_file import EventFile
from cytovae.events.transform import arcsinh
from cytovae.fcs.file import open_fcs
from cytovae.fcs.write import write_fcs
from cytovae.inference.assigner import Assigner, assign
from cytovae.model_folder.load import load_model
from cytovae.populations.merge_tree import MergeTree
from cytovae.populations.valleys import LEVELS

pytest.importorskip("matplotlib", reason="the report's extra is not installed")
pytest.importorskip("jinja2", reason="the report's extra is not installed")

from helpers.study import MARKERS, N_CLUSTERS, write_study
from PIL import Image

from cytovae.drawing import PALETTE, file_stem, shown
from cytovae.model_folder.record import read_record
from cytovae.report.cluster_table import cluster_rows
from cytovae.report.collect import collect
from cytovae.report.content import ReportContent
from cytovae.report.dendrogram import branches, clusters_at_levels, cut_height
from cytovae.report.page import render_page
from cytovae.report.pictures import Pictures, draw_all
from cytovae.study.assign_study import AssignStudy, open_assign_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def content(study: list[Path]) -> ReportContent:
    return report_on(study)


@pytest.fixture(scope="module")
def pictures(content: ReportContent) -> Pictures:
    return draw_all(content, svg=True)


@pytest.fixture(scope="module")
def page(content: ReportContent, pictures: Pictures) -> str:
    return render_page(content, pictures, "<b>model</b>")


def open_study(folder: Path, files: Sequence[EventFile]) -> AssignStudy:
    """``files`` through the model in ``folder``."""
    saved = load_model(folder)
    return open_assign_study(saved, files, Assigner(saved.model))


def report_on(paths: list[Path], **options: Any) -> ReportContent:
    folder = paths[0].parent / "model"
    files = [open_fcs(path) for path in paths]
    gates = read_gates_of_files(files, None)
    return collect(open_study(folder, files), read_record(folder), gates=gates, **options)


def all_cells(study: list[Path]) -> pd.DataFrame:
    """Every cell with its values, its cluster and its gate, computed without the report."""
    values = np.concatenate([arcsinh(open_fcs(path).read(), 5.0) for path in study])
    assignment = assign(load_model(study[0].parent / "model").model, values)
    gates = pd.concat([pd.read_csv(path.with_suffix(".gates.csv"), skip_blank_lines=False) for path in study])
    table = pd.DataFrame(values, columns=list(MARKERS))
    table["file"] = np.repeat([path.name for path in study], [open_fcs(path).n_events for path in study])
    table["cluster"], table["probability"] = assignment.cluster, assignment.probabilities.max(axis=1)
    table["population"] = gates["population"].to_numpy()
    return table


# --- numbers ---


def test_counts_equal_a_cross_table(study: list[Path], content: ReportContent) -> None:
    table = all_cells(study)
    counted = pd.crosstab(table["file"], table["cluster"]).reindex(columns=range(1, N_CLUSTERS + 1), fill_value=0)
    assert (table["cluster"].nunique()) > 1
    for file in content.files:
        assert file.counts.tolist() == counted.loc[file.name].tolist()
        assert file.in_training


def test_medians_equal_those_of_pandas(study: list[Path], content: ReportContent) -> None:
    expected = all_cells(study).groupby("cluster")[list(MARKERS)].median()
    for cluster, row in expected.iterrows():
        np.testing.assert_allclose(content.medians[int(str(cluster)) - 1], row, rtol=1e-6)
    absent = [index for index in range(N_CLUSTERS) if index + 1 not in expected.index]
    assert np.isnan(content.medians[absent]).all()


def test_the_table_of_clusters_counts_low_probabilities(study: list[Path], content: ReportContent) -> None:
    table = all_cells(study)
    for row in cluster_rows(content):
        cells = table[table["cluster"] == row.cluster]
        assert (row.cells, row.n_low_probability) == (len(cells), (cells["probability"] < 0.5).sum())
        assert row.n_fair_probability == (cells["probability"] < 0.9).sum()
        if len(cells):
            assert row.mean_probability == pytest.approx(cells["probability"].mean(), rel=1e-5)
            assert row.gates is not None
            counts = cells["population"].value_counts()
            assert row.gates.purity == pytest.approx(counts.max() / len(cells) if len(counts) else 0)
            assert row.gates.gated_share == pytest.approx(cells["population"].notna().mean())
            assert row.gates.population == (counts.idxmax() if 2 * counts.max() >= len(cells) else "")


def test_landmarks_keep_their_coordinates(content: ReportContent) -> None:
    assert content.landmarks is not None
    np.testing.assert_array_equal(content.landmarks.coordinates, content.landmarks.cells.values[:, [0, 3]])
    assert np.bincount(content.landmarks.source).tolist() == [150, 100]


def test_one_of_two_files_shows_its_own_landmarks(study: list[Path]) -> None:
    one = report_on(study[1:])
    assert one.landmarks is not None
    assert len(one.landmarks.cells) == 100
    np.testing.assert_array_equal(one.landmarks.coordinates, one.landmarks.cells.values[:, [0, 3]])


def test_max_cells_does_not_change_counts(study: list[Path], content: ReportContent) -> None:
    fewer = report_on(study, max_cells=100)
    assert len(fewer.cells) == 100
    np.testing.assert_array_equal(fewer.counts, content.counts)


def test_a_new_file_has_no_landmarks(tmp_path: Path, study: list[Path]) -> None:
    other = tmp_path / study[0].name
    file = open_fcs(study[0])
    write_fcs(other, file.read()[:50], file.channels)
    folder = study[0].parent / "model"
    new = collect(open_study(folder, [open_fcs(other)]), read_record(folder))
    assert new.landmarks is None
    assert not new.files[0].in_training
    pictures = draw_all(new)
    assert pictures.umap_clusters is None
    assert "there is no UMAP" in render_page(new, pictures, "model")


def test_files_without_events_raise_an_error(tmp_path: Path, study: list[Path]) -> None:
    empty = tmp_path / "empty.fcs"
    file = open_fcs(study[0])
    write_fcs(empty, file.read()[:0], file.channels)
    folder = study[0].parent / "model"
    record = read_record(folder)
    no_events = open_study(folder, [open_fcs(empty)])
    with pytest.raises(InputError, match="no events"):
        collect(no_events, record)
    gates = GateLabels(np.zeros(3, np.int32), ("T",))
    other = open_study(folder, [file])
    with pytest.raises(UsageError, match="do not fit"):
        collect(other, record, gates=gates)


# --- the tree ---


def small_tree() -> MergeTree:
    """Expert 4 has no cells; 0 and 1 merge at 0.9, 2 and 3 at 0.8, all at 0.3."""
    return MergeTree(
        kept=np.array([0, 0, 2, 0], np.int32),
        absorbed=np.array([4, 1, 3, 2], np.int32),
        level=np.array([1.0, 0.9, 0.8, 0.3], np.float32),
        n_same=3,
        cells=np.array([10, 40, 30, 25, 0], np.int64),
        agreement=np.full(len(LEVELS), np.nan, np.float32),
    )


def test_positions_of_branches() -> None:
    (root,) = branches(small_tree())
    assert root.leaves == (2, 3, 1, 0)  # 55 cells are left of 50; in each branch the larger expert is left
    assert (root.x, root.height) == (pytest.approx(1.5), pytest.approx(0.7))
    left, right = root.children
    assert (left.x, left.height) == (pytest.approx(0.5), pytest.approx(0.2))
    assert (right.x, right.height) == (pytest.approx(2.5), pytest.approx(0.1))
    assert [leaf.x for branch in root.children for leaf in branch.children] == [0, 1, 2, 3]


def test_the_cut_is_between_two_merges() -> None:
    assert cut_height(small_tree(), 2) == pytest.approx((0.2 + 0.7) / 2)
    assert cut_height(small_tree(), 3) == pytest.approx((0.1 + 0.2) / 2)
    assert cut_height(small_tree(), 1) == pytest.approx((0.7 + 1) / 2)


def test_clusters_at_each_level() -> None:
    expected = [4 if level > 0.9 else 3 if level > 0.8 else 2 if level > 0.3 else 1 for level in LEVELS]
    assert clusters_at_levels(small_tree()).tolist() == expected


# --- pictures and page ---


def test_names_become_file_names_and_labels() -> None:
    assert file_stem("../CD3/ε") == "CD3"
    assert file_stem("...") == "unnamed"
    assert shown("a\x00b\n") == "a\ufffdb\ufffd"
    assert shown("x" * 50) == "x" * 39 + "…"


def test_forty_colours_are_different() -> None:
    assert len(set(PALETTE)) == len(PALETTE) == 40


def test_pillow_and_an_xml_parser_read_the_pictures(pictures: Pictures) -> None:
    names = [picture.name for picture in pictures.all]
    assert len(set(names)) == len(names) == 11 + len(MARKERS)
    for picture in pictures.all:
        with Image.open(io.BytesIO(picture.png)) as image:
            image.load()
            assert image.width == pytest.approx(picture.width * 150 / 96, abs=2)
        assert picture.svg is not None
        assert ElementTree.fromstring(picture.svg).tag.endswith("svg")


class Reader(HTMLParser):
    """Collects what a browser would run or load, and the text that it would show."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action", "data")]
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_loads_nothing_and_runs_only_its_own_script(page: str, pictures: Pictures) -> None:
    reader = Reader()
    reader.feed(page)
    assert re.findall(r"<script[^>]*>", page) == ['<script type="application/json" id="data">', "<script>"]
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]+)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert html.unescape(policy).endswith(f"; script-src 'sha256-{digest}'")
    assert "unsafe-eval" not in policy
    assert not {"b>", "i", "iframe", "object", "form"} & set(reader.tags)
    assert all(address.startswith(("data:", "#")) for address in reader.addresses)
    assert not reader.handlers
    assert "http://" not in page
    assert "https://" not in page
    images = [address for address in reader.addresses if address.startswith("data:image/png;base64,")]
    assert len(images) == len(pictures.all)


def test_pictures_of_the_page_are_those_of_the_files(page: str, pictures: Pictures) -> None:
    """The page has 256 colours for each picture; none is off by more than 16 of 255 steps, and white stays white."""
    found = dict(re.findall(r'data-picture="([^"]+)"[^>]*><img src="data:image/png;base64,([^"]+)"', page))
    assert sorted(found) == sorted(picture.name for picture in pictures.all)
    for picture in pictures.all:
        small = base64.b64decode(found[picture.name])
        with Image.open(io.BytesIO(small)) as shown, Image.open(io.BytesIO(picture.png)) as full:
            pixels, expected = (np.asarray(image.convert("RGB")).astype(int) for image in (shown, full))
        assert np.abs(pixels - expected).max() <= 16
        assert (pixels[(expected == 255).all(axis=2)] == 255).all()
        assert len(small) < len(picture.png)


def test_names_are_shown_as_text(page: str) -> None:
    reader = Reader()
    reader.feed(page)
    text = "".join(reader.text)
    for name in (*MARKERS, "sample & 0.fcs", "<b>B</b>", "<i>x</i>", "<b>model</b>"):
        assert name in text, name


def test_the_same_content_gives_the_same_bytes(content: ReportContent, page: str) -> None:
    assert render_page(content, draw_all(content, svg=True), "<b>model</b>") == page


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+A1", "-2+3", " =x"])
def test_text_in_tables_is_no_formula(content: ReportContent, pictures: Pictures, name: str) -> None:
    """A table that is copied to a spreadsheet must not compute anything."""
    sheet = SampleSheet(("sample",), {file.name: (name,) for file in content.files})
    files = tuple(replace(file, name=name, sample=(name,)) for file in content.files)
    page = render_page(replace(content, files=files, sheet=sheet), pictures, name)
    cells = [html.unescape(cell) for cell in re.findall(r"<t[dh][^>]*>([^<]*)", page)]
    assert f"'{name}" in cells
    assert name not in cells
    assert not [cell for cell in cells if cell.lstrip().startswith(("=", "@"))]
