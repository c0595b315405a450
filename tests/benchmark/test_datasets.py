from pathlib import Path

import flowio
import numpy as np
import pandas as pd
import pytest

from cytovae.benchmark.datasets import (
    PUBLIC,
    DataSet,
    dataset_of_files,
    drop_small_populations,
    fingerprint,
    held_out,
    load,
    named_datasets,
    read_table,
    rest_as_population,
    subsample,
)
from cytovae.cells import GateLabels
from cytovae.errors import InputError, PanelError, UsageError

SHARED = Path(__file__).parents[3] / "shared" / "data"


def write_fcs(path: Path, names: list[str], values: np.ndarray) -> None:
    with path.open("wb") as stream:
        flowio.create_fcs(stream, values.astype(np.float32).ravel().tolist(), names)


@pytest.fixture
def two_files(tmp_path: Path) -> tuple[Path, np.ndarray]:
    """Two files of three cells, with different orders of markers, and gates that share one population."""
    raw = np.array([[0.0, 5.0], [10.0, -5.0], [100.0, 1.0], [2.0, 3.0], [4.0, 5.0], [6.0, 7.0]], dtype=np.float32)
    write_fcs(tmp_path / "1.fcs", ["CD3", "CD4", "Time"], np.column_stack([raw[:3], [1, 2, 3]]))
    write_fcs(tmp_path / "2.fcs", ["CD4", "CD3", "Time"], np.column_stack([raw[3:, ::-1], [1, 2, 3]]))
    (tmp_path / "1.gates.csv").write_text("population\nT\n\nB\n")
    (tmp_path / "2.gates.csv").write_text("population\nB\nNK\nB\n")
    return tmp_path, raw


def test_cells_of_two_files_are_pooled_by_marker_name(two_files: tuple[Path, np.ndarray]) -> None:
    folder, raw = two_files
    gated = load(DataSet("two", (str(folder / "1.fcs"), str(folder / "2.fcs")), cofactor=2.0))
    assert gated.cells.markers == ("CD3", "CD4")
    np.testing.assert_allclose(gated.cells.values, np.arcsinh(raw / 2.0), rtol=1e-6)
    np.testing.assert_array_equal(gated.cells.source, [0, 0, 0, 1, 1, 1])
    np.testing.assert_array_equal(gated.cells.event, [0, 1, 2, 0, 1, 2])
    names = [gated.gates.names[i] if i >= 0 else "" for i in gated.gates.population]
    assert names == ["T", "", "B", "B", "NK", "B"]


def test_a_table_of_cells_equals_the_fcs_file(two_files: tuple[Path, np.ndarray]) -> None:
    folder, raw = two_files
    table = pd.DataFrame(np.column_stack([raw[:3], [1, 2, 3]]).astype(np.float32), columns=["CD3", "CD4", "Time"])
    table.to_parquet(folder / "t.parquet")
    (folder / "t.gates.csv").write_text("population\nT\n\nB\n")
    expected, found = (load(DataSet("one", (str(folder / name),))) for name in ("1.fcs", "t.parquet"))
    assert found.cells.markers == expected.cells.markers
    np.testing.assert_array_equal(found.cells.values, expected.cells.values)
    np.testing.assert_array_equal(found.gates.population, expected.gates.population)


def test_values_without_transform_are_unchanged(two_files: tuple[Path, np.ndarray]) -> None:
    folder, raw = two_files
    gated = load(DataSet("one", (str(folder / "1.fcs"),), transform="none"))
    np.testing.assert_array_equal(gated.cells.values, raw[:3])


def test_a_wrong_number_of_markers_is_refused(two_files: tuple[Path, np.ndarray]) -> None:
    folder, _ = two_files
    with pytest.raises(PanelError, match="found 2: CD3, CD4, expected 13"):
        load(DataSet("one", (str(folder / "1.fcs"),), n_markers=13))


def test_the_fingerprint_depends_on_contents_not_on_paths(two_files: tuple[Path, np.ndarray], tmp_path: Path) -> None:
    folder, _ = two_files
    here = DataSet("here", (str(folder / "1.fcs"),))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name in ("1.fcs", "1.gates.csv"):
        (elsewhere / name).write_bytes((folder / name).read_bytes())
    there = DataSet("there", (str(elsewhere / "1.fcs"),))
    assert fingerprint(here) == fingerprint(there)
    assert fingerprint(here) != fingerprint(DataSet("here", here.files, cofactor=6.0))
    (elsewhere / "1.gates.csv").write_text("population\nT\nT\nB\n")
    assert fingerprint(here) != fingerprint(there)


@pytest.mark.parametrize("gates", [None, "beside"])
def test_gates_beside_the_files_are_the_default(two_files: tuple[Path, np.ndarray], gates: str | None) -> None:
    folder, _ = two_files
    dataset = dataset_of_files([folder / "1.fcs"], gates=gates)
    assert (dataset.name, dataset.gates) == ("1", None)
    assert load(dataset).gates.population.tolist() == [1, -1, 0]


# --- a table of data sets ---


def test_numbered_files_keep_their_order(tmp_path: Path) -> None:
    for name in ("1", "2", "10"):
        (tmp_path / f"{name}.fcs").touch()
    table = tmp_path / "sets.toml"
    table.write_text('[[dataset]]\nname = "a"\nfiles = ["*.fcs"]\nmarkers = ["CD3"]\n')
    (dataset,) = read_table(table, tmp_path)
    assert [Path(file).name for file in dataset.files] == ["1.fcs", "2.fcs", "10.fcs"]
    assert (dataset.markers, dataset.cofactor, dataset.rare) == (("CD3",), 5.0, False)


def test_a_table_may_name_groups_and_sets_that_are_only_reported(tmp_path: Path) -> None:
    (tmp_path / "a.fcs").touch()
    table = tmp_path / "sets.toml"
    entry = '[[dataset]]\nname = "{}"\nfiles = ["a.fcs"]\n'
    table.write_text(entry.format("a") + 'group = "g"\nreported_only = true\n' + entry.format("b"))
    a, b = read_table(table, tmp_path)
    assert (a.group, a.reported_only, b.group, b.reported_only) == ("g", True, None, False)


def test_a_table_may_say_that_gates_are_beside_the_files(two_files: tuple[Path, np.ndarray]) -> None:
    folder, _ = two_files
    table = folder / "sets.toml"
    table.write_text('[[dataset]]\nname = "a"\nfiles = ["1.fcs"]\ngates = "beside"\n')
    (dataset,) = read_table(table, folder)
    assert dataset.gates is None


def test_a_name_that_is_not_in_the_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.fcs").touch()
    table = tmp_path / "sets.toml"
    table.write_text('[[dataset]]\nname = "a"\nfiles = ["a.fcs"]\n')
    assert [dataset.name for dataset in named_datasets(str(table), tmp_path, ("a",))] == ["a"]
    with pytest.raises(UsageError, match="no data set called b"):
        named_datasets(str(table), tmp_path, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "at least one"),
        ("[[dataset]]\n", "without a name"),
        ('[[dataset]]\nname = "a"\nfiles = ["none*.fcs"]\n', "none, expected at least one FCS file"),
        ('[[dataset]]\nname = "a"\nfiles = ["t.toml"]\nradius = 2\n', "a.radius: found an unknown field"),
        ('[[dataset]]\nname = "a"\nfiles = ["t.toml"]\nrare = 1\n', "a.rare: found 1"),
        ('[[dataset]]\nname = "a"\nfiles = [1]\n', "a.files"),
        ('[[dataset]]\nname = "a"\nfiles = ["t.toml"]\n' * 2, "the same name twice"),
        ("[[dataset", "readable TOML"),
    ],
)
def test_an_error_in_a_table_names_the_field(tmp_path: Path, text: str, field: str) -> None:
    table = tmp_path / "t.toml"
    table.write_text(text)
    with pytest.raises(InputError) as caught:
        read_table(table, tmp_path)
    assert field in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the public data sets are not at {SHARED}")
@pytest.mark.corpus
@pytest.mark.slow
def test_the_public_sets_have_the_stated_cells() -> None:
    stated = {
        "bendall": (103_372, 102_987, 13, 20),
        "bodenmiller": (51_936, 51_936, 10, 14),
        "huimm": (114_142, 111_335, 30, 18),
        "hipc": (65_334, 65_334, 7, 10),
        "flowsom_ff": (19_225, 13_671, 9, 6),
        "nilsson_rare": (44_140, 358, 13, 1),
        "levine32_balanced": (1_500, 1_400, 32, 14),
        "cytomem_pbmc": (30_000, 30_000, 25, 7),
        "gatemeclass_flow": (74_118, 74_118, 10, 6),
        "hipc_ftv1": (21_900, 21_900, 7, 10),
        "nolanlab_gatingml": (31_230, 26_502, 10, 5),
        "optimalflow_siteb": (120_000, 107_532, 10, 22),
    }
    for dataset in read_table(PUBLIC, SHARED, tuple(stated)):
        gated = load(dataset)
        found = (len(gated.cells), int((gated.gates.population >= 0).sum()), *gated.cells.values.shape[1:])
        assert (*found, len(gated.gates.names)) == stated[dataset.name]


@pytest.mark.corpus
def test_the_public_table_lists_every_set() -> None:
    if not SHARED.is_dir():
        pytest.skip(f"the public data sets are not at {SHARED}")
    found = read_table(PUBLIC, SHARED)
    assert [len(dataset.files) for dataset in found] == [1, 4, 1, 2, 1, 16, 1, 1, 1, 1, 1, 1, 3]
    assert [dataset.name for dataset in found if dataset.rare] == ["nilsson_rare"]
    assert [dataset.name for dataset in found if dataset.reported_only] == ["levine32_balanced"]
    assert {dataset.name: dataset.group for dataset in found if dataset.group} == {"hipc": "hipc", "hipc_ftv1": "hipc"}


# --- which cells are clustered and scored ---


def gates_of(*population: int) -> GateLabels:
    return GateLabels(np.array(population, dtype=np.int32), ("a", "b", "c"))


def test_small_populations_become_ungated() -> None:
    dropped = drop_small_populations(gates_of(0, 0, 0, 1, 1, 2, -1), 2)
    np.testing.assert_array_equal(dropped.population, [0, 0, 0, 1, 1, -1, -1])
    np.testing.assert_array_equal(drop_small_populations(gates_of(0, 2, -1), 0).population, [0, 2, -1])


def test_held_out_cells_depend_on_the_seed() -> None:
    first, again, other = held_out(1001, 0.2, 7), held_out(1001, 0.2, 7), held_out(1001, 0.2, 8)
    assert first.sum() == other.sum() == 200
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_ungated_cells_of_a_rare_set_become_the_rest() -> None:
    rest = rest_as_population(gates_of(-1, 1, -1, 1), "x")
    assert rest.names == ("b", "rest")
    np.testing.assert_array_equal(rest.population, [1, 0, 1, 0])
    with pytest.raises(UsageError, match="2 gated populations"):
        rest_as_population(gates_of(0, 1), "x")


def test_a_subsample_is_reproducible_and_in_order(two_files: tuple[Path, np.ndarray]) -> None:
    folder, _ = two_files
    gated = load(DataSet("one", (str(folder / "1.fcs"), str(folder / "2.fcs"))))
    some = subsample(gated, 4)
    rows = some.cells.source * 3 + some.cells.event
    assert len(some.cells) == 4
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(some.gates.population, gated.gates.population[rows])
    np.testing.assert_array_equal(subsample(gated, 4).cells.values, some.cells.values)
    assert subsample(gated, 6) is gated
