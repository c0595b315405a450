"""The interactive page: its data against the model, and its use with mouse and keyboard in Chromium."""

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the report's extra is not installed")
pytest.importorskip("jinja2", reason="the report's extra is not installed")

from helpers.browser import Tab, tab
from helpers.command import Command
from helpers.study import MARKERS, N_CLUSTERS, write_study

from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner, assign
from cytovae.model_folder.load import load_model
from cytovae.model_folder.record import read_record
from cytovae.report.collect import collect
from cytovae.report.content import ReportContent
from cytovae.report.densities import BINS, densities
from cytovae.report.page_data import page_data
from cytovae.report.pictures import draw_all
from cytovae.report.resolution import resolutions, slot_changes
from cytovae.study.assign_study import open_assign_study

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return write_study(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def content(study: list[Path]) -> ReportContent:
    folder = study[0].parent / "model"
    saved = load_model(folder)
    files = [open_fcs(path) for path in study]
    return collect(open_assign_study(saved, files, Assigner(saved.model)), read_record(folder))


@pytest.fixture(scope="module")
def data(content: ReportContent) -> Any:
    return json.loads(page_data(content, draw_all(content)))


# --- cuts ---


def test_a_cluster_keeps_its_slot_while_it_grows_and_shrinks(content: ReportContent) -> None:
    """The tree of the study: 0 + 1 and 2 + 3 merge below the report's four clusters, 4 … 7 split off above it."""
    cuts = resolutions(content.saved.model.tree, N_CLUSTERS)
    assert cuts.numbers == (2, 3, 4, 5, 6, 7, 8)
    assert cuts.main == 2
    # Experts 0 … 7 have 60, 50, 40, 30, 20, 10, 10 and 10 cells; 7, 6, 5 and 4 belong to 0, 1, 2 and 3.
    slot_of_expert = [slots[experts - 1].tolist() for slots, experts in zip(cuts.slots, cuts.experts, strict=True)]
    assert slot_of_expert[0] == [0, 0, 2, 2, 2, 2, 0, 0]
    assert slot_of_expert[1] == [0, 0, 2, 3, 3, 2, 0, 0]
    assert slot_of_expert[2] == [0, 1, 2, 3, 3, 2, 1, 0]
    assert slot_of_expert[3] == [0, 1, 2, 3, 4, 2, 1, 0]
    assert slot_of_expert[4] == [0, 1, 2, 3, 4, 5, 1, 0]
    assert slot_of_expert[6] == [0, 1, 2, 3, 4, 5, 6, 7]


def test_clusters_of_drawn_cells_are_those_of_assign(content: ReportContent) -> None:
    explored, model = content.explored, content.saved.model
    for cut, number in enumerate(explored.cuts.numbers):
        expected = assign(replace(model, n_clusters=number), explored.values).cluster
        np.testing.assert_array_equal(explored.clusters[:, cut], expected)


def test_changes_give_every_cut_again(content: ReportContent) -> None:
    explored = content.explored
    changes = slot_changes(explored.clusters, explored.cuts)
    slots = np.full(len(explored.values), -1)
    start = 0
    for cut, count in enumerate(changes.counts.tolist()):
        slots[changes.cell[start : start + count]] = changes.slot[start : start + count]
        start += count
        np.testing.assert_array_equal(slots, explored.cuts.slots[cut][explored.clusters[:, cut] - 1])


# --- data ---


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_values_have_eight_bits(content: ReportContent, data: Any) -> None:
    low, high = np.array(data["low"]), np.array(data["high"])
    values = unpacked(data["cells"]["values"], "u1").reshape(len(MARKERS), -1).T / 255 * (high - low) + low
    expected = np.clip(content.explored.values, low, high)
    assert np.abs(values - expected).max() <= (high - low).max() / 510 * 1.001
    assert data["cells"]["count"] == len(expected) == 500


def test_places_keep_their_proportions(content: ReportContent, data: Any) -> None:
    """One scale for both coordinates, to a 65,535th."""
    places = unpacked(data["map"]["places"], "<u2").reshape(2, -1).T / 65535
    coordinates = content.explored.coordinates
    assert coordinates is not None
    side = np.ptp(coordinates, axis=0).max()
    np.testing.assert_allclose(places - places[0], (coordinates - coordinates[0]) / side, atol=2 / 65535 + 1e-6, rtol=0)


def test_distributions_are_those_of_the_pictures(content: ReportContent, data: Any) -> None:
    heights = unpacked(data["densities"]["heights"], "u1").reshape(len(MARKERS), N_CLUSTERS, BINS)
    for index in range(len(MARKERS)):
        np.testing.assert_allclose(heights[index] / 255, densities(content, index), atol=1 / 500)


def test_names_cannot_end_the_block_of_data(content: ReportContent) -> None:
    text = page_data(content, draw_all(content))
    assert not re.search("[<>&\u2028\u2029]", text)
    assert json.loads(text)["markers"] == list(MARKERS)


def test_many_markers_mean_fewer_cells(content: ReportContent, monkeypatch: pytest.MonkeyPatch) -> None:
    from cytovae.report import explored

    monkeypatch.setattr(explored, "MOST_VALUES", 40 * len(MARKERS))
    model = content.saved.model
    drawn = explored.explored_cells(model, "cpu", content.cells.values, None)
    assert (len(drawn.values), drawn.coordinates) == (40, None)


# --- in a browser ---


@pytest.fixture(scope="module")
def page(study: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    (folder / "names.csv").write_text("cluster,name\n1,<img src=x>\n3,<img src=x>\n")
    named = ("--names", folder / "names.csv", "--gates", "beside")
    Command(("report",)).done(study[0].parent / "model", *study, *named, "-o", folder / "report.html", "--quiet")
    return folder / "report.html"


@pytest.fixture(scope="module")
def chromium(page: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with tab(page, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def shown(chromium: Tab, page: Path) -> Iterator[Tab]:
    """The page, opened anew; at the end, no name has become a part of it."""
    chromium.load(page)
    yield chromium
    assert chromium.complaints == []
    assert chromium.value("document.querySelectorAll('script').length") == 2
    assert chromium.value("document.querySelectorAll('img[src=x]').length") == 0


CHOSEN = "Array.from(document.querySelectorAll('#clusters tr.chosen'), row => row.dataset.clusters).join()"
OUTLINED = "document.querySelectorAll('[data-picture=heatmap] .outline').length"
RAISED = "document.querySelectorAll('.card .density').length"
LABEL = "document.querySelector('.hover').hidden ? '' : document.querySelector('.hover').textContent"


def colours_on(shown: Tab, canvas: str) -> set[int]:
    """Which clusters have points in their own colour on a canvas."""
    return set(
        shown.value(f"""(() => {{
            const canvas = document.getElementById({canvas!r});
            const {{ data }} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            const seen = new Set();
            for (let i = 0; i < data.length; i += 4) seen.add((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]);
            const {{ colours }} = JSON.parse(document.getElementById("data").textContent);
            return colours.flatMap((colour, slot) => seen.has(parseInt(colour.slice(1), 16)) ? [slot + 1] : []);
        }})()""")
    )


def place_of(shown: Tab, canvas: str, cluster: int) -> tuple[float, float]:
    """A point of a canvas, as shares of its width and height, in the middle of a patch of a cluster's colour."""
    x, y = shown.value(f"""(() => {{
        const canvas = document.getElementById({canvas!r});
        const {{ width, height }} = canvas;
        const {{ data }} = canvas.getContext("2d").getImageData(0, 0, width, height);
        const {{ colours }} = JSON.parse(document.getElementById("data").textContent);
        const wanted = parseInt(colours[{cluster - 1}].slice(1), 16);
        const is = (x, y) => {{
            const i = 4 * (y * width + x);
            return ((data[i] << 16) | (data[i + 1] << 8) | data[i + 2]) === wanted;
        }};
        for (let y = 1; y < height - 1; y += 1) {{
            for (let x = 1; x < width - 1; x += 1) {{
                if (is(x, y) && is(x - 1, y) && is(x + 1, y) && is(x, y - 1) && is(x, y + 1)) {{
                    return [(x + 0.5) / width, (y + 0.5) / height];
                }}
            }}
        }}
        return [-1, -1];
    }})()""")
    assert x >= 0, f"no point of cluster {cluster}"
    return x, y


def used_clusters(content: ReportContent) -> set[int]:
    return set((np.flatnonzero(content.counts) + 1).tolist())


@pytest.mark.browser
def test_a_click_in_a_table_highlights_everywhere(shown: Tab, content: ReportContent) -> None:
    used = used_clusters(content)
    assert colours_on(shown, "map-plot") == colours_on(shown, "scatter-plot") == used
    assert (shown.value(CHOSEN), shown.value(OUTLINED), shown.value(RAISED)) == ("", 0, 0)
    cluster = max(used)
    shown.click(f'#clusters tr[data-clusters="{cluster}"] td:nth-child(3)')
    assert (shown.value(CHOSEN), shown.value(OUTLINED), shown.value(RAISED)) == (str(cluster), 1, len(MARKERS))
    assert colours_on(shown, "map-plot") == colours_on(shown, "scatter-plot") == {cluster}
    columns = (
        "Array.from(document.querySelectorAll('#abundance tbody tr:first-child td.chosen'), c => c.dataset.clusters)"
    )
    assert shown.value(columns) == [str(cluster)]
    assert shown.value("document.getElementById('choice-names').textContent").startswith(f"Cluster {cluster}")
    shown.click("#choice-clear")
    assert (shown.value(CHOSEN), shown.value(OUTLINED), shown.value(RAISED)) == ("", 0, 0)
    assert colours_on(shown, "map-plot") == used


@pytest.mark.browser
def test_a_click_in_the_heatmap_the_distributions_and_the_map(shown: Tab, content: ReportContent) -> None:
    regions = json.loads(shown.value("document.getElementById('data').textContent"))["rows"]
    left, right, top, row = regions["heatmap"]["box"]
    shown.click("[data-picture=heatmap]", ((left + right) / 2, top + 1.5 * row))
    assert shown.value(CHOSEN) == "2"
    name = next(name for name in regions if name.startswith("marker_03"))
    left, right, top, row = regions[name]["box"]
    shown.click(f"[data-picture={name}]", ((left + right) / 2, top + 2.9 * row))
    assert shown.value(CHOSEN) == "3"
    shown.press("Escape")
    assert shown.value(CHOSEN) == ""
    for canvas, clusters in (
        ("map-plot", used_clusters(content)),
        ("scatter-plot", {int(content.counts.argmax()) + 1}),
    ):
        for cluster in clusters:
            shown.click(f"#{canvas}", place_of(shown, canvas, cluster))
            assert shown.value(CHOSEN) == str(cluster)
            shown.press("Escape")


@pytest.mark.browser
def test_populations_and_several_clusters_are_chosen(shown: Tab) -> None:
    shown.click("#populations tr:first-child .of")
    assert shown.value(CHOSEN) == "1,3"
    shown.click('#clusters tr[data-clusters="2"] .of', modifier="Control")
    assert shown.value(CHOSEN) == "1,2,3"
    shown.click('#clusters tr[data-clusters="1"] .of', modifier="Control")
    assert shown.value(CHOSEN) == "2,3"
    shown.click('#clusters tr[data-clusters="2"] .of')
    shown.click('#clusters tr[data-clusters="2"] .of')
    assert shown.value(CHOSEN) == ""


@pytest.mark.browser
def test_the_keyboard_chooses_too(shown: Tab) -> None:
    shown.value("document.querySelector('#clusters tr[data-clusters=\"2\"] .of').focus()")
    shown.press("Enter")
    assert shown.value(CHOSEN) == "2"
    assert shown.value("document.activeElement.getAttribute('aria-pressed')") == "true"
    shown.press(" ")
    assert shown.value(CHOSEN) == ""


@pytest.mark.browser
def test_names_are_shown_on_hover_as_text(shown: Tab, content: ReportContent) -> None:
    region = json.loads(shown.value("document.getElementById('data').textContent"))["rows"]["heatmap"]
    left, right, top, row = region["box"]
    column = region["columns"].index(MARKERS.index("<script>alert(1)</script>"))
    x = left + (column + 0.5) / len(MARKERS) * (right - left)
    shown.hover("[data-picture=heatmap]", (x, top + 0.5 * row))
    size, median = int(content.counts[0]), round(float(content.medians[0, 1]), 2)
    assert shown.value(LABEL).split("\n") == [
        "cluster 1 <img src=x>",
        f"{size:,} cells ({100 * size / content.counts.sum():.2f} %)",
        f"<script>alert(1)</script>: median {median:g}",
    ]
    cluster = max(used_clusters(content))
    shown.hover("#map-plot", place_of(shown, "map-plot", cluster))
    assert shown.value(LABEL).startswith(f"cluster {cluster} ")


@pytest.mark.browser
def test_tables_are_sorted_by_their_columns(shown: Tab, content: ReportContent) -> None:
    heads = "Array.from(document.querySelectorAll('#clusters th'), head => head.textContent.trim())"
    column = shown.value(heads).index("cells") + 1
    button = f"#clusters th:nth-child({column}) .sort"
    order = "Array.from(document.querySelectorAll('#clusters tbody tr'), row => Number(row.dataset.clusters))"
    state = f"document.querySelector('#clusters th:nth-child({column})').getAttribute('aria-sort')"
    counts = content.counts
    shown.click(button)
    assert [counts[cluster - 1] for cluster in shown.value(order)] == sorted(counts.tolist(), reverse=True)
    assert shown.value(state) == "descending"
    shown.click(button)
    assert [counts[cluster - 1] for cluster in shown.value(order)] == sorted(counts.tolist())
    assert shown.value(state) == "ascending"
    shown.click(button)
    assert shown.value(order) == list(range(1, N_CLUSTERS + 1))
    assert shown.value(state) is None


@pytest.mark.browser
def test_text_is_sorted_with_its_numbers_and_missing_values_last(chromium: Tab, page: Path, tmp_path: Path) -> None:
    rows = [("donor 10", "1,000"), ("donor 9", "–"), ("donor 1", "9.5 %"), ("", "−20"), ("Donor 2", "1e3 ⚠")]
    body = "".join(f"<tr><td class=name>{name}</td><td>{number}</td></tr>" for name, number in rows)
    table = (
        f"<table id=mine><thead><tr><th class=name>name</th><th>number</th></tr></thead><tbody>{body}</tbody></table>"
    )
    other = tmp_path / "other.html"
    other.write_text(page.read_text(encoding="utf-8").replace("<h2>Summary</h2>", table), encoding="utf-8")
    texts = "Array.from(document.querySelectorAll('#mine tbody tr'), row => row.cells[{}].textContent)"
    chromium.load(other)
    chromium.click("#mine th:nth-child(1) .sort")
    assert chromium.value(texts.format(0)) == ["donor 1", "Donor 2", "donor 9", "donor 10", ""]
    chromium.click("#mine th:nth-child(2) .sort")
    assert chromium.value(texts.format(1)) == ["1,000", "1e3 ⚠", "9.5 %", "−20", "–"]
    chromium.click("#mine th:nth-child(2) .sort")
    assert chromium.value(texts.format(1)) == ["−20", "9.5 %", "1,000", "1e3 ⚠", "–"]


@pytest.mark.browser
def test_the_tree_is_cut_elsewhere(shown: Tab, content: ReportContent) -> None:
    tree = content.saved.model.tree
    parts = "Array.from(document.querySelectorAll('#parts tbody tr'), row => Array.from(row.cells, c => c.textContent))"
    assert [part[0].split()[0] for part in shown.value(parts)] == ["1", "2", "3", "4"]
    shown.value("document.getElementById('cut').focus()")
    for number in (3, 2):
        shown.press("ArrowLeft")
        assert shown.value("document.getElementById('cut-name').textContent") == str(number)
        members = tree.cut(number)
        expected = []
        for cluster in range(1, number + 1):
            titles = sorted({content.titles[c - 1] for c in tree.cut(N_CLUSTERS)[members == cluster]}, key=str)
            expected.append(titles)
        found = [part[2].removeprefix("the same as ").split(" + ") for part in shown.value(parts)]
        assert [[int(title.split()[0]) for title in titles] for titles in found] == [
            [int(title.split()[0]) for title in titles] for titles in expected
        ]
        shares = [float(part[1].split()[0]) for part in shown.value(parts)]
        drawn = content.explored.clusters[:, content.explored.cuts.numbers.index(number)]
        assert shares == pytest.approx([100 * np.mean(drawn == cluster) for cluster in range(1, number + 1)], abs=0.006)
    whole = tree.cut(N_CLUSTERS)[tree.cut(2) == 1]
    shown.click("#parts tbody tr:first-child")
    assert shown.value(CHOSEN) == ",".join(map(str, sorted(set(whole.tolist()))))
    shown.click("#cut-back")
    assert shown.value("document.getElementById('cut-name').textContent") == f"{N_CLUSTERS}, as in this report"
    shown.value("document.getElementById('cut').focus()")
    shown.press("ArrowRight")
    assert "part of 4 unknown" in " ".join(part[2] for part in shown.value(parts))


@pytest.mark.browser
def test_markers_of_the_scatter_are_chosen_freely(shown: Tab, data: Any) -> None:
    names = "Array.from(document.getElementById('scatter-x').options, option => option.text)"
    assert shown.value(names) == list(MARKERS)
    values = unpacked(data["cells"]["values"], "u1").reshape(len(MARKERS), -1)
    for x, y in ((0, 2), (3, 1)):
        for box, marker in (("scatter-x", x), ("scatter-y", y)):
            shown.value(
                f"(() => {{ const box = document.getElementById('{box}'); box.value = '{marker}';"
                "box.dispatchEvent(new Event('change')); })()"
            )
        # The first cell is under the mouse where its two values say: margins of 54, 12, 12 and 46 pixels.
        width, height = shown.value("[document.getElementById('scatter-plot').clientWidth, "
                                    "document.getElementById('scatter-plot').clientHeight]")  # fmt: skip
        across = (54 + values[x, 0] / 255 * (width - 66)) / width
        up = (height - 46 - values[y, 0] / 255 * (height - 58)) / height
        shown.hover("#scatter-plot", (across, up))
        told = shown.value(LABEL).split("\n")[-2:]
        scaled = [data["low"][m] + values[m, 0] / 255 * (data["high"][m] - data["low"][m]) for m in (x, y)]
        assert told == [
            f"{MARKERS[m]} {value:.1f}".replace("-0.0", "0.0") for m, value in zip((x, y), scaled, strict=True)
        ]


@pytest.mark.browser
def test_without_a_script_the_page_shows_its_pictures_and_tables(page: Path, tmp_path: Path) -> None:
    with tab(page, tmp_path / "profile") as shown:
        shown.send("Emulation.setScriptExecutionDisabled", value=True)
        shown.send("Page.navigate", url=page.as_uri())
        shown.wait_for("Page.loadEventFired")
        document = shown.send("DOM.getDocument", depth=0)["root"]["nodeId"]

        def visible(selector: str) -> int:
            nodes = shown.send("DOM.querySelectorAll", nodeId=document, selector=selector)["nodeIds"]
            count = 0
            for node in nodes:
                try:
                    shown.send("DOM.getBoxModel", nodeId=node)
                    count += 1
                except RuntimeError:  # it has no box
                    pass
            return count

        assert visible("#explore") == visible("#choice") == visible(".sort") == 0
        assert visible("#clusters table") == 1
        assert visible(".card img") == len(MARKERS)
        assert visible("#heatmap img") == 1
