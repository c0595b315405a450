"""`cytovae assign` into the formats of other programs, with tables beside and names for clusters."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from flowio import FlowData
from helpers.command import Command
from helpers.sample_model import FILES, merge_tree, write_model
from typer.testing import CliRunner

from cytovae.cells import Assignment
from cytovae.cli.main import app
from cytovae.errors import InputError, OutputError, UsageError
from cytovae.events.panel import resolve_panel
from cytovae.fcs.file import open_fcs
from cytovae.inference.assigner import Assigner
from cytovae.model_folder.load import load_model

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four experts, each a cluster, of 40, 30, 20 and 10 cells."""
    tree = merge_tree([0, 0, 0], [3, 2, 1], 0, [40, 30, 20, 10])
    return write_model(tmp_path_factory.mktemp("models") / "model", tree, 4)


COMMAND = Command(("assign",), ("--device", "cpu", "--threads", "1"))
done = COMMAND.done
refused = COMMAND.refused


def test_every_format_says_the_same_of_every_event(model: Path, tmp_path: Path) -> None:
    done(model, *FILES, "-o", tmp_path / "x.parquet")
    for form in ("fcs", "clr", "flowjo-csv"):
        done(model, *FILES, "-o", f"{tmp_path}/{form}/", "--format", form)
    table = pd.read_parquet(tmp_path / "x.parquet")
    for path in FILES:
        rows = table[table["file"] == path.name]
        p = rows.filter(regex=r"^p_\d+$").to_numpy()
        events = FlowData(tmp_path / "fcs" / path.name).as_array(preprocess=False)
        assert np.array_equal(events[:, :-2], FlowData(path).as_array(preprocess=False))
        assert np.array_equal(events[:, -2], rows["cluster"])
        assert np.array_equal(events[:, -1].astype(np.float32), rows["probability"])
        assert np.array_equal(pd.read_csv(tmp_path / "clr" / f"{path.stem}.clr").to_numpy().astype(np.float32), p)
        classes = pd.read_csv(tmp_path / "flowjo-csv" / f"{path.stem}.csv")
        assert classes["cytovae_cluster"].tolist() == rows["cluster"].tolist()


def test_formats_of_one_file_take_one_file(model: Path, tmp_path: Path) -> None:
    for form in ("fcs", "clr", "flowjo-csv"):
        told = refused(UsageError, model, *FILES, "-o", tmp_path / "x", "--format", form)
        assert "slash" in told
    done(model, FILES[0], "-o", tmp_path / "one.fcs")
    assert "--force" in refused(OutputError, model, FILES[0], "-o", tmp_path / "one.fcs")
    refused(UsageError, model, tmp_path / "one.fcs", "-o", tmp_path / "one.fcs", "--force")
    refused(UsageError, model, tmp_path / "one.fcs", "-o", f"{tmp_path}/", "--format", "fcs", "--force")
    refused(UsageError, model, FILES[0], "-o", "-", "--format", "fcs")
    assert done(model, FILES[0], "-o", "-", "--format", "flowjo-csv").stdout.startswith("cytovae_cluster\n")


def test_names_reach_every_output(model: Path, tmp_path: Path) -> None:
    (tmp_path / "names.csv").write_text("cluster,name\n2,T\n3,T\n4,B\n")
    named = ("--names", tmp_path / "names.csv")
    done(model, *FILES, "-o", tmp_path / "plain.parquet")
    done(model, *FILES, "-o", tmp_path / "x.parquet", *named, "--tables", tmp_path / "tables")
    done(model, *FILES, "-o", tmp_path / "x.csv", *named)
    done(model, FILES[0], "-o", tmp_path / "x.fcs", *named)
    done(model, FILES[0], "-o", tmp_path / "x.clr", *named)
    done(model, FILES[0], "-o", f"{tmp_path}/flowjo/", "--format", "flowjo-csv", *named)
    plain, table = pd.read_parquet(tmp_path / "plain.parquet"), pd.read_parquet(tmp_path / "x.parquet")
    columns = ["file", "event", "cluster", "probability", "population", "population_probability"]
    assert list(table) == [*columns, "p_1", "p_2", "p_3", "p_4"]
    # Numbers and probabilities of clusters are the same as without names.
    pd.testing.assert_frame_equal(table.drop(columns=columns[-2:]), plain, check_exact=True)
    assert table["population"].tolist() == [["unknown", "T", "T", "B"][number - 1] for number in table["cluster"]]
    expected = np.stack([plain["p_1"], plain["p_2"] + plain["p_3"], plain["p_2"] + plain["p_3"], plain["p_4"]])
    own = expected[plain["cluster"] - 1, np.arange(len(plain))]
    assert np.allclose(table["population_probability"], own, atol=1e-6)
    assert pd.read_csv(tmp_path / "x.csv")["population"].tolist() == table["population"].tolist()
    fcs = FlowData(tmp_path / "x.fcs")
    n_events = fcs.event_count
    assert fcs.pnn_labels[-4:] == [f"cytovae_{name}" for name in columns[2:]]
    added = fcs.as_array(preprocess=False)[:, -4:].astype(np.float32)
    assert np.array_equal(added[:, 0], table["cluster"][:n_events])
    assert np.array_equal(added[:, 1], table["probability"][:n_events])
    assert np.array_equal(added[:, 3], table["population_probability"][:n_events])
    assert [fcs.text[f"cytovae_cluster_{number}"] for number in (1, 2, 3, 4)] == ["unknown", "T", "T", "B"]
    named_in_file = [fcs.text[f"cytovae_population_{int(number)}"] for number in added[:, 2]]
    assert named_in_file == table["population"][:n_events].tolist()
    classes = pd.read_csv(tmp_path / "x.clr")
    assert list(classes) == ["cluster_1", "cluster_2 T", "cluster_3 T", "cluster_4 B"]
    assert np.array_equal(classes.to_numpy(np.float32), table[["p_1", "p_2", "p_3", "p_4"]][:n_events])
    flowjo = pd.read_csv(tmp_path / "flowjo" / f"{FILES[0].stem}.csv")
    assert list(flowjo) == ["cytovae_cluster", "cytovae_population"]
    assert np.array_equal(flowjo, added[:, [0, 2]])

    abundance = pd.read_csv(tmp_path / "tables" / "abundance.csv").set_index(["file", "cluster", "population"])["cells"]
    counted = table.groupby(["file", "cluster", "population"]).size()
    assert abundance[abundance > 0].sort_index().to_dict() == counted.sort_index().to_dict()


def test_tables_are_of_all_channels_and_raw(model: Path, tmp_path: Path) -> None:
    done(model, FILES[0], "-o", tmp_path / "x.parquet", "--tables", tmp_path / "new" / "tables")
    cluster = pd.read_parquet(tmp_path / "x.parquet")["cluster"]
    data = FlowData(FILES[0])
    medians = pd.read_csv(tmp_path / "new" / "tables" / "cluster_medians.csv")
    expected = pd.DataFrame(data.as_array(preprocess=False), columns=data.pnn_labels).groupby(cluster).median()
    wide = medians.dropna().pivot_table(index="cluster", columns="channel", values="median")[data.pnn_labels]
    assert wide.index.tolist() == expected.index.tolist()
    assert np.allclose(wide, expected, rtol=1e-6)
    panel = {marker.channel for marker in resolve_panel(open_fcs(FILES[0])).markers}
    assert set(medians["channel"][medians["used_for_clustering"]]) == panel
    assert 0 < len(panel) < len(data.pnn_labels)


def test_tables_and_names_that_are_refused(model: Path, tmp_path: Path) -> None:
    tables = tmp_path / "tables"
    tables.mkdir()
    (tables / "cluster_medians.csv").write_text("mine")
    command = (model, FILES[0], "-o", tmp_path / "x.csv", "--tables", tables)
    assert "--force" in refused(OutputError, *command)
    assert not (tmp_path / "x.csv").exists()
    done(*command, "--force")
    refused(UsageError, model, FILES[0], "-o", tables / "abundance.csv", "--tables", tables, "--force")
    refused(UsageError, model, FILES[0], "-o", tmp_path / "y.csv", "--tables", model)
    names = tables / "abundance.csv"
    refused(UsageError, model, FILES[0], "-o", tmp_path / "y.csv", "--names", names, "--tables", tables, "--force")
    refused(InputError, model, FILES[0], "-o", tmp_path / "y.csv", "--names", tmp_path / "none.csv")
    (tmp_path / "five.csv").write_text("cluster,name\n5,T\n")
    assert "1 … 4" in refused(InputError, model, FILES[0], "-o", tmp_path / "y.csv", "--names", tmp_path / "five.csv")
    assert not (tmp_path / "y.csv").exists()


def test_anndata_holds_values_and_codes_of_all_files(model: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    done(model, *FILES, "-o", tmp_path / "x.h5ad")
    done(model, *FILES, "-o", tmp_path / "x.parquet")
    found, table = anndata.read_h5ad(tmp_path / "x.h5ad"), pd.read_parquet(tmp_path / "x.parquet")
    saved = load_model(model)
    data = [FlowData(path) for path in FILES]
    channels = [marker.channel for marker in saved.panel.markers]
    raw = np.concatenate([d.as_array(preprocess=False)[:, [d.pnn_labels.index(c) for c in channels]] for d in data])
    assert found.var_names.tolist() == list(saved.panel.names)
    assert np.allclose(found.X, np.arcsinh(raw / 5), atol=1e-5)
    assert found.obs["file"].tolist() == table["file"].tolist()
    assert found.obs["event"].tolist() == table["event"].tolist()
    assert found.obs["cluster"].astype(int).tolist() == table["cluster"].tolist()
    assert np.array_equal(found.obsm["p"], table.filter(regex=r"^p_\d+$"))
    # From the codes the clustering network must make the same probabilities, expert by expert.
    logits = saved.model.network.clustering(torch.from_numpy(found.obsm["z"])).detach().numpy()
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    order = saved.model.expert_clusters - 1
    expected = np.zeros_like(p)
    expected[:, order] = p / p.sum(axis=1, keepdims=True)
    assert np.allclose(found.obsm["p"], expected, atol=1e-5)
    assert found.uns["cytovae"]["settings"]["experts"] == 4


def test_gates_are_in_the_anndata_of_their_file(model: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    gates = [path.with_suffix(".gates.csv").read_text().split("\n")[1:-1] for path in FILES]  # blank is ungated
    done(model, *FILES, "-o", tmp_path / "all.h5ad", "--gates", "beside")
    done(model, *FILES, "-o", f"{tmp_path}/each/", "--format", "h5ad", "--gates", "beside")
    found = anndata.read_h5ad(tmp_path / "all.h5ad")
    assert found.obs["gate"].astype(object).fillna("").tolist() == gates[0] + gates[1]
    second = anndata.read_h5ad(tmp_path / "each" / f"{FILES[1].stem}.h5ad")
    assert second.obs["gate"].astype(object).fillna("").tolist() == gates[1]
    names = found.uns["cytovae"]["other_channels"].tolist()
    data = FlowData(FILES[0])
    raw = data.as_array(preprocess=False)
    others = found.obsm["other_channels"][: len(raw)]
    assert np.array_equal(others, raw[:, [data.pnn_labels.index(name) for name in names]])


def test_names_and_gates_are_never_written_over(model: Path, tmp_path: Path) -> None:
    names = tmp_path / "names.csv"
    names.write_text("cluster,name\n1,T\n2,T\n3,B\n4,B\n")
    refused(UsageError, model, FILES[0], "-o", names, "--names", names, "--force")
    copies = [shutil.copy(FILES[0].with_suffix(end), tmp_path / f"a{end}") for end in (".fcs", ".gates.csv")]
    refused(UsageError, model, copies[0], "-o", copies[1], "--gates", "beside", "--force")
    refused(UsageError, model, copies[0], "-o", copies[1], "--gates", copies[1], "--force")
    shown = done(model, copies[0], "-o", tmp_path / "x.csv", "--gates", "beside", "--names", names).stdout
    assert set(pd.read_csv(tmp_path / "x.csv")["population"]) <= {"T", "B"}
    # Clusters and the populations that they are named after are scored side by side.
    assert ["cluster", "population"] in [line.split() for line in shown.splitlines()]


SHEET = "file,sample,batch,condition\ndonor1_baseline.fcs,D1 base,A,none\ndonor1_stim,D1 stim,B,stimulated\n"


def test_a_sample_sheet_reaches_every_output(model: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    (tmp_path / "samples.csv").write_text(SHEET)
    told = ("--samples", tmp_path / "samples.csv")
    done(model, *FILES, "-o", tmp_path / "x.parquet", *told, "--tables", tmp_path / "tables")
    done(model, *FILES, "-o", tmp_path / "x.h5ad", *told)
    done(model, FILES[1], "-o", tmp_path / "x.fcs", *told)
    table, found = pd.read_parquet(tmp_path / "x.parquet"), anndata.read_h5ad(tmp_path / "x.h5ad")
    assert list(table)[:5] == ["file", "sample", "batch", "condition", "event"]
    expected = np.where(table["file"] == "donor1_stim.fcs", "stimulated", "none").tolist()
    assert table["condition"].tolist() == found.obs["condition"].tolist() == expected
    abundance = pd.read_csv(tmp_path / "tables" / "abundance.csv")
    assert set(zip(abundance["file"], abundance["sample"], strict=True)) == {
        ("donor1_baseline.fcs", "D1 base"),
        ("donor1_stim.fcs", "D1 stim"),
    }
    assert FlowData(tmp_path / "x.fcs").text["cytovae_sample"] == "D1 stim"
    (tmp_path / "samples.csv").write_text(SHEET.replace("donor1_stim,", "other,"))
    assert "donor1_stim.fcs" in refused(InputError, model, *FILES, "-o", tmp_path / "y.csv", *told)


def test_novelty_is_written_where_the_model_tells_it(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    plain = Assigner.assign

    def with_novelty(self: Assigner, values: Any) -> Assignment:
        return replace(plain(self, values), novelty=(values[:, 0] / 10).astype(np.float32))

    monkeypatch.setattr(Assigner, "has_novelty", True)
    monkeypatch.setattr(Assigner, "assign", with_novelty)
    for name in ("x.parquet", "x.csv", "x.fcs", "x.h5ad"):
        done(model, FILES[0], "-o", tmp_path / name)
    data = FlowData(FILES[0])
    saved = load_model(model)
    raw = data.as_array(preprocess=False)[:, data.pnn_labels.index(saved.panel.markers[0].channel)]
    expected = np.arcsinh(raw / 5) / 10
    table = pd.read_parquet(tmp_path / "x.parquet")
    assert list(table)[3:5] == ["probability", "novelty"]
    assert np.allclose(table["novelty"], expected, atol=1e-6)
    assert np.allclose(pd.read_csv(tmp_path / "x.csv")["novelty"], expected, atol=1e-6)
    assert np.allclose(anndata.read_h5ad(tmp_path / "x.h5ad").obs["novelty"], expected, atol=1e-6)
    fcs = FlowData(tmp_path / "x.fcs")
    assert fcs.pnn_labels[-1] == "cytovae_novelty"
    assert np.allclose(fcs.as_array(preprocess=False)[:, -1], expected, atol=1e-6)


def test_umap_gives_landmarks_their_own_place(model: Path, tmp_path: Path) -> None:
    anndata = pytest.importorskip("anndata", reason="the extra h5ad is not installed")
    for name in ("x.parquet", "x.fcs", "x.h5ad"):
        done(model, FILES[0], "-o", tmp_path / name, "--umap")
    places = pd.read_parquet(tmp_path / "x.parquet")[["umap_1", "umap_2"]].to_numpy()
    # The landmarks of this model are its first five events.
    assert np.allclose(places[:5], np.arange(10).reshape(5, 2), atol=0.01)
    assert places.min() >= 0
    assert places.max() <= 9  # means of places lie between them
    assert np.array_equal(anndata.read_h5ad(tmp_path / "x.h5ad").obsm["X_umap"], places)
    fcs = FlowData(tmp_path / "x.fcs")
    assert fcs.pnn_labels[-2:] == ["cytovae_umap_1", "cytovae_umap_2"]
    assert np.array_equal(fcs.as_array(preprocess=False)[:, -2:].astype(np.float32), places)
    refused(UsageError, model, FILES[0], "-o", tmp_path / "x.clr", "--umap")


def test_tables_of_cells_and_names_on_standard_input(model: Path, tmp_path: Path) -> None:
    data = FlowData(FILES[0])
    frame = pd.DataFrame(data.as_array(preprocess=False), columns=data.pnn_labels)
    frame.columns = [label or name for label, name in zip(data.pns_labels, data.pnn_labels, strict=True)]
    frame.to_csv(tmp_path / "cells.csv", index=False)
    frame.to_parquet(tmp_path / "cells.parquet")
    done(model, FILES[0], "-o", tmp_path / "fcs.csv")
    listed = f"{tmp_path / 'cells.csv'}\n\n{tmp_path / 'cells.parquet'}\n"
    command = ["assign", str(model), "-", "-o", str(tmp_path / "both.csv"), "--threads", "1"]
    result = CliRunner().invoke(app, command, input=listed)
    assert result.exit_code == 0, result.output
    expected, both = pd.read_csv(tmp_path / "fcs.csv"), pd.read_csv(tmp_path / "both.csv")
    for name in ("cells.csv", "cells.parquet"):
        assert both[both["file"] == name]["cluster"].tolist() == expected["cluster"].tolist()
    empty = CliRunner().invoke(app, [*command[:-3], str(tmp_path / "none.csv")], input="\n")
    assert isinstance(empty.exception, UsageError)


@pytest.mark.filterwarnings("ignore")  # scanpy's own, about matplotlib
def test_scanpy_plots_the_h5ad(model: Path, tmp_path: Path) -> None:
    scanpy = pytest.importorskip("scanpy", reason="scanpy is not installed")
    pyplot = pytest.importorskip("matplotlib.pyplot")
    done(model, FILES[0], "-o", tmp_path / "x.h5ad", "--umap")
    found = scanpy.read_h5ad(tmp_path / "x.h5ad")
    axes = scanpy.pl.umap(found, color="cluster", show=False)
    (points,) = [part for part in axes.collections if len(part.get_offsets())][:1]
    assert len(points.get_offsets()) == found.n_obs
    pyplot.close("all")
