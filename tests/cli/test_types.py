"""`--types` and `cytovae types` through the real app: what is printed, named and refused."""

from pathlib import Path

import pandas as pd
import pytest
from helpers.command import Command
from helpers.sample_model import FILES, merge_tree, write_model

from cytovae.annotations.marker_table import read_marker_table
from cytovae.errors import InputError, UsageError

TYPES = Command(("types",))
TRAIN = Command(("train", str(FILES[0])), ("--device", "cpu", "--threads", "1"))
ASSIGN = Command(("assign",), ("--device", "cpu", "--threads", "1"))
TABLE = "population,CD3,CD19,CD14\nT cells,+,-,-\nB cells,-,+,-\nMonocytes,-,-,+\n"


def written(folder: Path, text: str = TABLE) -> Path:
    path = folder / "types.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_printed_table_is_a_marker_table_for_the_file(tmp_path: Path) -> None:
    result = TYPES.done(FILES[0], "--species", "human", "--tissue", "blood")
    table = read_marker_table(written(tmp_path, result.stdout))
    assert {"CD4 T cells", "Classical monocytes", "NK cells"} <= set(table.populations)
    assert "CD8a" in table.markers  # as the file spells it


def test_a_panel_that_can_show_no_population_is_refused() -> None:
    assert "markers of a population in mouse spleen" in TYPES.refused(
        InputError, FILES[0], "--species", "mouse", "--tissue", "spleen", "--markers", "CD45,CD27"
    )


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (TABLE.replace("T cells,+", "T cells,?"), "line 2, column CD3: found '?'"),
        (TABLE.replace("B cells", "T cells"), "line 3, column population"),
        ("population,CD3x,CD19x,CD14\nT,+,-,-\n", "Nearest: CD3x: CD3, CD19x: CD19"),
    ],
)
def test_a_wrong_table_ends_training_before_it_begins(tmp_path: Path, text: str, where: str) -> None:
    assert where in TRAIN.refused(InputError, "-o", tmp_path / "m", "--types", written(tmp_path, text))
    assert not (tmp_path / "m").exists()


def test_a_table_and_a_number_of_clusters_contradict_each_other(tmp_path: Path) -> None:
    message = TRAIN.refused(UsageError, "-o", tmp_path / "m", "--types", written(tmp_path), "--clusters", 3)
    assert "--clusters" in message


@pytest.mark.slow
def test_assign_names_the_clusters_of_a_model_without_names(tmp_path: Path) -> None:
    model = write_model(
        tmp_path / "model", merge_tree([0, 1, 0, 2, 0], [3, 4, 1, 5, 2], 2, [60, 50, 40, 30, 20, 10]), 4
    )
    table = written(tmp_path)
    names = tmp_path / "names.csv"
    names.write_text("cluster,name\n2,Mine\n", encoding="utf-8")
    ASSIGN.done(model, FILES[0], "-o", tmp_path / "plain.parquet")
    ASSIGN.done(model, FILES[0], "-o", tmp_path / "x.parquet", "--types", table, "--names", names)
    plain, found = pd.read_parquet(tmp_path / "plain.parquet"), pd.read_parquet(tmp_path / "x.parquet")
    assert (plain["cluster"] == found["cluster"]).all()  # names renumber nothing
    by_cluster = found.groupby("cluster")["population"].unique()
    assert all(len(names_of) == 1 for names_of in by_cluster)
    assert by_cluster.get(2, ["Mine"])[0] == "Mine"
    assert set(found["population"]) <= {"Mine", "T cells", "B cells", "Monocytes", "unknown"}
    assert "--clusters" in ASSIGN.refused(
        UsageError, model, FILES[0], "-o", tmp_path / "y.parquet", "--types", table, "--clusters", 3
    )
