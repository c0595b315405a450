"""Methods with prior knowledge: names from a marker table, and from the gates of other files."""

import importlib.util
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import flowio
import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics import accuracy_score, f1_score
from sklearn.neighbors import KNeighborsClassifier
from typer.testing import CliRunner

from cytovae import settings
from cytovae.benchmark.datasets import DataSet, fingerprint, load, read_table
from cytovae.benchmark.job import Job, Protocol, Row, execute
from cytovae.benchmark.methods import Run
from cytovae.benchmark.runner import plan, without_knowledge
from cytovae.benchmark.tables import markdown_tables
from cytovae.cli.main import app
from cytovae.errors import InputError, UsageError

ALL = Protocol()
TABLE = "population,CD3,CD4,CD8,CD19\nA,-,-,+,+\nB,+,-,-,+\nC,-,+,+,-\n"
NAMES = np.array(["A", "B", "C", "few"])


@pytest.fixture(scope="module")
def two_files(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    """Overlapping populations in two files, the second shifted; the fourth population has 20 cells in each."""
    rng = np.random.default_rng(7)
    folder = tmp_path_factory.mktemp("named")
    population = np.repeat([0, 1, 2, 3], [180, 150, 100, 20])
    centres = np.array([[0, 0, 5, 5], [5, 0, 0, 5], [0, 5, 5, 0], [5, 5, 0, 0]])
    for stem, shift in (("a", 0.0), ("b", 0.8)):
        values = centres[population] + rng.normal(shift, 1.6, (450, 4))
        with (folder / f"{stem}.fcs").open("wb") as stream:
            flowio.create_fcs(stream, values.astype(np.float32).ravel().tolist(), ["CD3", "CD4", "CD8", "CD19"])
        lines = [*NAMES[population][:-5], *[""] * 5]
        (folder / f"{stem}.gates.csv").write_text("\n".join(["population", *lines, ""]))
    (folder / "types.csv").write_text(TABLE)
    files = tuple(str(folder / f"{stem}.fcs") for stem in "ab")
    return DataSet("two", files, transform="none", types=str(folder / "types.csv"), train_files=files[:1])


def done(dataset: DataSet, method: str, **options: int) -> Row:
    (job,) = plan([dataset], [method], 1, ALL, **options)
    (row,) = execute(Job.from_json(job.to_json()))
    return row


@pytest.mark.parametrize(
    ("method", "classifier"), [("lda", LinearDiscriminantAnalysis()), ("knn", KNeighborsClassifier(15))]
)
def test_classifiers_learn_from_one_file_and_are_scored_on_the_other(
    two_files: DataSet, method: str, classifier: LinearDiscriminantAnalysis | KNeighborsClassifier
) -> None:
    gated = load(two_files)
    names = np.array([*gated.gates.names, ""])[gated.gates.population]
    learned, scored = ((gated.cells.source == file) & (names != "") for file in (0, 1))
    found = classifier.fit(gated.cells.values[learned], names[learned]).predict(gated.cells.values[scored])
    counted = ["A", "B", "C"]  # "few" has fewer than thirty cells
    row = done(two_files, method)
    assert row.macro_f1_by_name == pytest.approx(f1_score(names[scored], found, labels=counted, average="macro"))
    of_counted = np.isin(names[scored], counted)
    assert row.accuracy_by_name == pytest.approx(accuracy_score(names[scored][of_counted], found[of_counted]))
    assert (row.n_cells, row.n_learned, row.n_gated) == (900, 450, 445)
    assert row.protocol == "all cells, labels of a name the other files"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["cytovae:types", "cytovae:labels"])
def test_cytovae_names_separate_populations(two_files: DataSet, tmp_path: Path, method: str) -> None:
    rng = np.random.default_rng(1)
    population = np.repeat([0, 1, 2], 100)
    values = np.array([[0, 0, 5, 5], [5, 0, 0, 5], [0, 5, 5, 0]])[population] + rng.normal(0, 0.3, (300, 4))
    for stem in "ab":
        with (tmp_path / f"{stem}.fcs").open("wb") as stream:
            flowio.create_fcs(stream, values.astype(np.float32).ravel().tolist(), ["CD3", "CD4", "CD8", "CD19"])
        (tmp_path / f"{stem}.gates.csv").write_text("\n".join(["population", *NAMES[population], ""]))
    files = tuple(str(tmp_path / f"{stem}.fcs") for stem in "ab")
    row = done(replace(two_files, files=files, train_files=files[:1]), method, steps=150)
    assert row.macro_f1_by_name == pytest.approx(1, abs=0.02)
    assert row.f1_mean == pytest.approx(1, abs=0.02)
    assert row.n_learned == (600 if method == "cytovae:types" else 300)


@pytest.mark.skipif(importlib.util.find_spec("scyan") is None, reason="scyan is not installed (extra scyan)")
def test_scyan_names_separate_populations(two_files: DataSet) -> None:
    assert done(two_files, "scyan").macro_f1_by_name == pytest.approx(1, abs=0.2)


def test_data_sets_without_knowledge_have_no_job_and_a_line(two_files: DataSet) -> None:
    bare = replace(two_files, name="bare", types=None, train_files=())
    methods = ["kmeans", "cytovae:types", "lda", "knn"]
    jobs = plan([two_files, bare], methods, 1, ALL, numbers=(3,))
    assert [(job.dataset.name, job.run.method) for job in jobs] == [
        ("two", "kmeans"), ("two", "cytovae"), ("two", "lda"), ("two", "knn"), ("bare", "kmeans"),
    ]  # fmt: skip
    assert without_knowledge([two_files, bare], methods) == (
        "bare has no marker table (types): without cytovae:types",
        "bare has no files that teach (train_files): without lda, knn",
    )
    with pytest.raises(UsageError, match="nothing to run: bare has no marker table"):
        plan([bare], ["scyan"], 1, ALL)


def test_scyan_and_cytovae_with_a_table_have_the_same_cells(two_files: DataSet) -> None:
    jobs = plan([two_files], ["cytovae", "cytovae:types", "scyan"], 1, ALL)
    of_method = [(job.run.method, job.run.variant, job.protocol.max_events) for job in jobs]
    assert of_method == [
        ("cytovae", "", None), ("cytovae", "types", None), ("cytovae", "types", 20_000), ("scyan", "", 20_000),
    ]  # fmt: skip
    fewer = plan([two_files], ["cytovae:types", "scyan"], 1, Protocol(max_events=300))
    assert [job.protocol.max_events for job in fewer] == [300, 300]


def test_keys_depend_on_what_a_method_knows(two_files: DataSet, tmp_path: Path) -> None:
    def keys(dataset: DataSet) -> list[str]:
        return [job.key for job in plan([dataset], ["kmeans", "cytovae:types", "lda"], 1, ALL, numbers=(3,))]

    (tmp_path / "types.csv").write_text(TABLE.replace("C,-", "C,~"))
    before = keys(two_files)
    other_table = keys(replace(two_files, types=str(tmp_path / "types.csv")))
    other_teacher = keys(replace(two_files, train_files=two_files.files[1:]))
    assert [a == b for a, b in zip(before, other_table, strict=True)] == [True, False, True]
    assert [a == b for a, b in zip(before, other_teacher, strict=True)] == [True, True, False]


def test_keys_of_cytovae_depend_on_the_settings_of_its_preset(
    two_files: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder of an older default must not be continued with a newer one."""

    def keys() -> list[str]:
        runs = [Run("cytovae"), Run("cytovae", variant="types"), Run("cytovae", variant="paper-mnist"), Run("gmm")]
        return [Job(two_files, ALL, run, fingerprint(two_files)).key for run in runs]

    before = keys()
    changed = settings.PRESETS | {"default": replace(settings.preset("default"), landmarks=77)}
    monkeypatch.setattr(settings, "PRESETS", MappingProxyType(changed))
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [False, False, True, True]


def test_files_that_teach_are_some_of_the_files(two_files: DataSet, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="two: train_files must be some of its files"):
        replace(two_files, train_files=two_files.files)
    with pytest.raises(UsageError, match="train_files"):
        replace(two_files, train_files=("c.fcs",))
    entry = '[[dataset]]\nname = "x"\nfiles = ["*.fcs"]\ntypes = "types.csv"\ntrain_files = ["%s"]\n'
    folder = Path(two_files.files[0]).parent
    (tmp_path / "sets.toml").write_text(entry % "b.fcs")
    (read,) = read_table(tmp_path / "sets.toml", folder)
    assert ([Path(file).name for file in read.train_files], read.types) == (["b.fcs"], str(folder / "types.csv"))
    (tmp_path / "sets.toml").write_text(entry % "z.fcs")
    with pytest.raises(InputError, match="train_files of data set x"):
        read_table(tmp_path / "sets.toml", folder)


def test_scores_by_name_have_columns_where_cells_are_named() -> None:
    plain = Row("a", "all cells", "kmeans", 3, 0, "ok", f1_mean=0.5)
    assert "by name" not in markdown_tables([plain])
    named = replace(plain, method="lda", number=0, accuracy_by_name=0.75, macro_f1_by_name=0.625)
    lines = markdown_tables([plain, named]).splitlines()
    (head,) = [line for line in lines if line.startswith("| method")]
    assert "| accuracy by name | macro-F1 by name |" in head
    (row,) = [line for line in lines if line.startswith("| linear discriminants")]
    assert "| 0.750 | 0.625 |" in row


@pytest.mark.slow
def test_the_command_names_the_other_file(two_files: DataSet, tmp_path: Path) -> None:
    arguments = ["benchmark", "run", *two_files.files, "--transform", "none", "--methods", "lda,cytovae:types"]
    arguments += ["--train-file", two_files.files[0], "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "a has no marker table (types): without cytovae:types" in result.stderr
    table = (tmp_path / "out" / "table.md").read_text()
    assert "Protocol: all cells, labels of a name the other files." in table
    assert "| linear discriminants |" in table
