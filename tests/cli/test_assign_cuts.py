"""`cytovae assign` with several numbers of clusters: every output agrees with the same number asked for alone."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from flowio import FlowData
from helpers.command import Command
from helpers.sample_model import FILES

from cytovae.errors import InputError, UsageError

pytestmark = pytest.mark.slow

FILE = FILES[0]
MODEL = Path(__file__).parents[1] / "golden" / "schema1" / "model"  # six clusters; its tree has cuts into 1 … 7
COMMAND = Command(("assign", str(MODEL), str(FILE)), ("--device", "cpu", "--threads", "1"))
done = COMMAND.done
refused = COMMAND.refused


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, pd.DataFrame]:
    """The table of each number of clusters by itself, of "auto" without the option."""
    folder, tables = tmp_path_factory.mktemp("alone"), {}
    for number, option in (("3", ("--clusters", "3")), ("4", ("--clusters", "4")), ("auto", ())):
        done("-o", folder / f"{number}.parquet", *option)
        tables[number] = pd.read_parquet(folder / f"{number}.parquet")
        assert tables[number]["cluster"].nunique() > 2, "a test with one cluster would say nothing"
    return tables


def test_a_list_with_auto_adds_columns_to_the_table(alone: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    for name in ("x.parquet", "x.csv"):
        done("-o", tmp_path / name, "--clusters", "3,4,auto")
    table, from_csv = pd.read_parquet(tmp_path / "x.parquet"), pd.read_csv(tmp_path / "x.csv")
    assert list(table)[:6] == ["file", "event", "cluster", "cluster_3", "cluster_4", "probability"]
    assert table["cluster_3"].dtype == np.int32
    pd.testing.assert_frame_equal(table.drop(columns=["cluster_3", "cluster_4"]), alone["auto"], check_exact=True)
    for number in ("3", "4"):
        assert table[f"cluster_{number}"].tolist() == alone[number]["cluster"].tolist()
        assert from_csv[f"cluster_{number}"].tolist() == alone[number]["cluster"].tolist()
    assert list(from_csv) == list(table)


def test_without_auto_everything_belongs_to_the_first_number(alone: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("cluster,name\n3,B\n")
    named = ("--names", tmp_path / "names.csv", "--tables", tmp_path / "tables")
    done("-o", tmp_path / "x.parquet", "--clusters", "4,3", *named)
    table, four = pd.read_parquet(tmp_path / "x.parquet"), alone["4"]
    assert list(table)[1:6] == ["event", "cluster_4", "cluster_3", "probability", "population"]
    assert table["cluster_4"].tolist() == four["cluster"].tolist()
    assert table["cluster_3"].tolist() == alone["3"]["cluster"].tolist()
    columns = ["probability", "p_1", "p_2", "p_3", "p_4"]
    assert [name for name in map(str, table) if name.startswith("p_")] == columns[1:]
    pd.testing.assert_frame_equal(table[columns], four[columns], check_exact=True)
    assert table["population"].tolist() == ["B" if number == 3 else "unknown" for number in four["cluster"]]
    counted = pd.read_csv(tmp_path / "tables" / "clusters.csv")
    assert counted["cells"].tolist() == [(four["cluster"] == number).sum() for number in (1, 2, 3, 4)]


def test_copies_have_a_channel_for_each_and_say_whose_the_probability_is(
    alone: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    done("-o", tmp_path / "x.fcs", "--clusters", "3,4")
    copy = FlowData(tmp_path / "x.fcs")
    added = ["cytovae_cluster_3", "cytovae_cluster_4", "cytovae_probability", "cytovae_novelty"]
    assert copy.pnn_labels[-4:] == added
    assert copy.text["cytovae_probability_of"] == "cytovae_cluster_3"
    assert [copy.channels[len(copy.pnn_labels) - back]["pnr"] for back in (3, 2)] == [4, 5]
    events = copy.as_array(preprocess=False)[:, -4:].astype(np.float32)
    for place, (number, column) in enumerate((("3", "cluster"), ("4", "cluster"), ("3", "probability"))):
        assert np.array_equal(events[:, place], alone[number][column].astype(np.float32))
    # A copy of the copy has both sets of channels, and each keyword names a channel of its set.
    Command(("assign", str(MODEL)), ("--device", "cpu")).done(
        tmp_path / "x.fcs", "-o", tmp_path / "again.fcs", "--clusters", "3,auto"
    )
    again = FlowData(tmp_path / "again.fcs")
    assert again.pnn_labels[-8:-4] == added
    assert again.pnn_labels[-4:-1] == ["cytovae_cluster_2", "cytovae_cluster_3_2", "cytovae_probability_2"]
    assert again.text["cytovae_probability_of"] == "cytovae_cluster_3"
    assert again.text["cytovae_probability_of_2"] == "cytovae_cluster_2"
    # One number has one channel, and nothing to explain.
    done("-o", tmp_path / "one.fcs", "--clusters", "3")
    assert "cytovae_probability_of" not in FlowData(tmp_path / "one.fcs").text


def test_observations_of_anndata_have_a_category_for_each(alone: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    done("-o", tmp_path / "x.h5ad", "--clusters", "4,3")
    cells = anndata.read_h5ad(tmp_path / "x.h5ad")
    assert list(cells.obs) == ["file", "event", "cluster_4", "cluster_3", "probability", "novelty"]
    for number in ("4", "3"):
        column = cells.obs[f"cluster_{number}"]
        assert column.cat.categories.tolist() == [str(n + 1) for n in range(int(number))]
        assert column.astype(int).tolist() == alone[number]["cluster"].tolist()
    assert np.array_equal(cells.obsm["p"], alone["4"][["p_1", "p_2", "p_3", "p_4"]].to_numpy())
    assert cells.uns["cytovae"]["probability_of"] == "cluster_4"
    assert cells.uns["cytovae"]["n_clusters"] == 4


def test_flowjo_takes_several_classes_but_the_probabilities_of_one(
    alone: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    done("-o", f"{tmp_path}/f/", "--format", "flowjo-csv", "--clusters", "3,auto")
    classes = pd.read_csv(tmp_path / "f" / f"{FILE.stem}.csv")
    assert list(classes) == ["cytovae_cluster", "cytovae_cluster_3"]
    assert classes["cytovae_cluster"].tolist() == alone["auto"]["cluster"].tolist()
    assert classes["cytovae_cluster_3"].tolist() == alone["3"]["cluster"].tolist()
    assert "clr" in refused(UsageError, "-o", tmp_path / "x.clr", "--clusters", "3,auto")
    assert not (tmp_path / "x.clr").exists()


def test_files_split_by_cluster_are_those_of_the_first_number(alone: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    done("-o", f"{tmp_path}/s/", "--format", "fcs", "--split-by", "cluster", "--clusters", "3,4")
    counts = {path.stem: FlowData(path).event_count for path in (tmp_path / "s" / FILE.stem).iterdir()}
    assert counts == {f"cluster_{number}": (alone["3"]["cluster"] == number).sum() for number in (1, 2, 3)}


def test_what_cannot_be_cut_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    out = ("-o", tmp_path / "x.parquet")
    for clusters in ("2,9", "9,2", "9,auto"):
        told = refused(UsageError, *out, "--clusters", clusters)
        assert "9 clusters; choose a number in 1 … 7" in told
    assert "2 twice" in refused(UsageError, *out, "--clusters", "2,2")
    (tmp_path / "types.csv").write_text("population,CD3,CD19\nT,+,-\nB,-,+\n")
    assert "--types" in refused(UsageError, *out, "--clusters", "2,auto", "--types", tmp_path / "types.csv")
    (tmp_path / "names.csv").write_text("cluster,name\n4,B\n")
    told = refused(InputError, *out, "--clusters", "3,4", "--names", tmp_path / "names.csv")
    assert "1 … 3" in told  # names are those of the first number
    assert not (tmp_path / "x.parquet").exists()
