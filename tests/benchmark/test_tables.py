import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from statistics import stdev

import pyarrow.parquet as pq
import pytest

from cytovae.atomic import write_whole
from cytovae.benchmark.job import Row
from cytovae.benchmark.over_seeds import oracle, spread
from cytovae.benchmark.runner import read_rows
from cytovae.benchmark.tables import draw_scores, markdown_tables, write_tables
from cytovae.errors import InputError, OutputError
from cytovae.experiments.cytometry import (
    ALL_CELLS,
    HELD_OUT,
    TABLE_A1,
    WEBER_F1_MEAN,
    WEBER_SETS,
    bodenmiller_table,
    over_wells,
    weber_tables,
)


def row(method: str, number: int = 0, seed: int = 0, *, dataset: str = "a", protocol: str = "all cells") -> Row:
    return Row(
        dataset, protocol, method, number, seed, "ok", n_clusters=7, cluster_wall_seconds=1.0, versions="numpy 2"
    )


def scored(f_weighted: float, f1_mean: float, *where: object, **more: str) -> Row:
    return replace(row(*where, **more), f_weighted=f_weighted, f1_mean=f1_mean)  # type: ignore[arg-type]


# K=10 has the best mean F_weighted (0.8), K=20 the best mean F1 (0.7); the best single runs are elsewhere (0.9, 0.75).
FLOWSOM = [
    scored(0.80, 0.50, "flowsom", 10, 0),
    scored(0.80, 0.75, "flowsom", 10, 1),
    scored(0.60, 0.68, "flowsom", 20, 0),
    scored(0.90, 0.72, "flowsom", 20, 1),
]


def cells_of(text: str, start: str) -> list[str]:
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_mean_and_deviation_of_known_values() -> None:
    assert str(spread([0.5, None, 0.7])) == f"0.600 ± {stdev([0.5, 0.7]):.3f}"
    assert str(spread([0.5])) == "0.500"
    assert str(spread([None])) == "–"


def test_the_oracle_takes_the_best_mean_of_each_score() -> None:
    found = {best.metric: (best.number, best.score.mean) for best in oracle(FLOWSOM)}
    assert found == {"f_weighted": (10, pytest.approx(0.8)), "f1_mean": (20, pytest.approx(0.7))}


def test_the_oracle_does_not_choose_a_number_that_failed_on_a_seed() -> None:
    lucky = scored(0.99, 0.99, "flowsom", 30, 0)
    failed = Row("a", "all cells", "flowsom", 30, 1, "failed", "no memory")
    assert {best.number for best in oracle([*FLOWSOM, lucky, failed])} == {10, 20}


def test_a_table_has_a_row_for_every_method_and_marks_oracles() -> None:
    failed = Row("a", "all cells", "phenograph", 0, 0, "failed", "phenograph cannot be imported")
    text = markdown_tables([*FLOWSOM, failed, scored(0.7, 0.6, "cytovae")])
    head = cells_of(text, "method")
    assert head[:3] == ["method", "F_weighted", "F1_mean"]
    column = head.index("F1_mean")
    assert cells_of(text, "FlowSOM K=10")[1] == "0.800 ± 0.000"
    assert cells_of(text, "FlowSOM *oracle* (best K by labels)")[1] == "0.800 ± 0.000 (K=10)"
    assert cells_of(text, "FlowSOM *oracle* (best K by labels)")[column] == "0.700 ± 0.028 (K=20)"
    assert cells_of(text, "PhenoGraph")[1] == "failed"
    assert "- a, PhenoGraph, seed 0: phenograph cannot be imported" in text
    assert cells_of(text, "cytovae")[1] == "0.700"
    assert "**" not in text


def test_protocols_are_not_averaged_together() -> None:
    text = markdown_tables(
        [scored(0.5, 0.5, "cytovae"), scored(0.9, 0.9, "cytovae", protocol="scored on 20% held out")]
    )
    assert text.count("| cytovae |") == 2
    assert "0.700" not in text


def test_a_rare_set_shows_only_its_own_score() -> None:
    text = markdown_tables([replace(row("cytovae"), rare_f1=0.25)])
    assert cells_of(text, "method")[1:3] == ["rare_f1", "clusters"]
    assert cells_of(text, "cytovae")[1] == "0.250"


def test_tables_contain_all_rows_and_are_reproducible(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the picture needs matplotlib")
    (tmp_path / "rows").mkdir()
    failed = Row("b", "all cells", "gmm", 10, 0, "failed", "singular")
    for number, one in enumerate([*FLOWSOM, failed]):
        write_whole(tmp_path / "rows" / f"{number}.json", json.dumps([asdict(one)]))
    names = {path.name for path in write_tables(tmp_path)}
    assert names == {"results.parquet", "results.json", "table.md", "scores.png"}
    assert {path.name for path in tmp_path.iterdir()} == {*names, "rows"}
    table = pq.read_table(tmp_path / "results.parquet").to_pylist()
    kept = [(line["method"], line["number"], line["seed"], line["f1_mean"], line["reason"]) for line in table]
    assert kept == [(r.method, r.number, r.seed, r.f1_mean, r.reason) for r in read_rows(tmp_path)]
    assert len(json.loads((tmp_path / "results.json").read_text())) == 5
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    before = {name: (tmp_path / name).read_bytes() for name in names}
    write_tables(tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in names} == before


def results(folder: Path) -> dict[str, bytes]:
    """Make a folder of rows and their tables, and return the contents of the tables."""
    (folder / "rows").mkdir()
    write_whole(folder / "rows" / "0.json", json.dumps([asdict(one) for one in FLOWSOM]))
    return {path.name: path.read_bytes() for path in write_tables(folder)}


def test_earlier_files_stay_if_there_is_no_space(tmp_path: Path) -> None:
    """Rows, tables and the figure, with a limit on the size of files."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    before = results(tmp_path)
    rows = (tmp_path / "rows" / "0.json").read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = {
        "results.parquet": lambda: write_tables(tmp_path),
        "0.json": lambda: write_whole(tmp_path / "rows" / "0.json", "x" * 100),
        "scores.png": lambda: draw_scores(read_rows(tmp_path), tmp_path / "scores.png"),
    }
    for name, call in calls.items():
        if name == "scores.png" and name not in before:
            continue  # no matplotlib here
        resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))
        try:
            with pytest.raises(OutputError, match=name):
                call()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (tmp_path / "rows" / "0.json").read_bytes() == rows
    assert {path.name for path in tmp_path.iterdir()} == {*before, "rows"}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root can write anywhere")
def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    before = results(tmp_path)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(OutputError, match="no permission"):
            write_tables(tmp_path)
    finally:
        tmp_path.chmod(0o755)
    assert {name: (tmp_path / name).read_bytes() for name in before} == before


def test_a_damaged_row_names_its_file(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    with pytest.raises(InputError, match="found none"):
        read_rows(tmp_path)
    (tmp_path / "rows" / "x.json").write_text('[{"dataset": "a"')
    with pytest.raises(InputError, match=r"x\.json"):
        read_rows(tmp_path)


# --- the paper's tables ---


def sections(text: str) -> dict[str, str]:
    return {part.partition(":")[0]: part for part in text.split("## ")[1:]}


def test_published_results_appear_only_in_the_table_of_their_own_score() -> None:
    rows = [replace(r, dataset="Levine_32dim") for r in FLOWSOM]
    rows.append(scored(0.66, 0.33, "cytovae:paper-weber", dataset="Levine_32dim"))
    parts = sections(weber_tables(rows))
    f1, weighted, by_cluster = (parts[name] for name in ("F1_mean", "F_weighted", "F_weighted_clusters"))
    # Weber & Robinson's 18 methods, as the paper's Table 2 prints them: FlowSOM .78 / .495 / .707 / .702.
    assert len(WEBER_F1_MEAN) == 18
    assert cells_of(f1, "FlowSOM (Weber")[1:] == ["0.780", "0.495", "0.707", "0.702"]
    assert cells_of(f1, "SPADE (Weber")[1] == "NA"
    assert cells_of(weighted, "MoE-Sim-VAE (the paper's")[1:] == ["0.700", "0.680", "0.760", "0.740"]
    assert "Weber & Robinson 2016" not in weighted
    assert "MoE-Sim-VAE" not in f1
    assert "MoE-Sim-VAE" not in by_cluster
    assert cells_of(f1, "cytovae:paper-weber (measured")[1:] == ["0.330", "–", "–", "–"]
    assert cells_of(weighted, "cytovae:paper-weber (measured")[1:] == ["0.660", "–", "–", "–"]
    assert cells_of(f1, "FlowSOM *oracle*")[1] == "0.700 ± 0.028 (K=20)"
    assert cells_of(weighted, "FlowSOM *oracle*")[1] == "0.800 ± 0.000 (K=10)"


def test_a_relative_shows_the_figure_of_its_published_set_in_brackets() -> None:
    rows = [scored(0.66, 0.33, "cytovae:paper-weber", dataset="bendall")]
    text = weber_tables(rows)
    parts = sections(text)
    assert cells_of(parts["F1_mean"], "FlowSOM (Weber")[1:] == ["0.780", "0.495", "0.707", "0.702", "(0.495)"]
    assert cells_of(parts["F_weighted"], "MoE-Sim-VAE (the paper's")[5] == "(0.680)"  # of Levine_13dim
    assert cells_of(parts["F_weighted"], "cytovae:paper-weber (measured")[1:] == ["–", "–", "–", "–", "0.660"]
    assert "bendall for Levine_13dim" in text


def test_the_four_sets_have_their_published_sizes() -> None:
    sizes = [(known.name, known.n_cells, known.n_markers, known.n_gated, known.n_populations) for known in WEBER_SETS]
    assert sizes == [
        ("Levine_32dim", 265_627, 32, 104_184, 14),
        ("Levine_13dim", 167_044, 13, 81_747, 24),
        ("Samusik_01", 86_864, 39, 53_173, 24),
        ("Samusik_all", 841_644, 39, 514_386, 24),
    ]


def test_wells_count_once_however_many_seeds_they_have() -> None:
    rows = [
        scored(0.2, 0, "x", 0, 0, dataset="A02"),
        scored(0.4, 0, "x", 0, 1, dataset="A02"),
        scored(0.9, 0, "x", dataset="A03"),
    ]
    assert over_wells(rows, "f_weighted").mean == pytest.approx((0.3 + 0.9) / 2)


def test_table_a1_appears_only_with_its_own_protocol() -> None:
    held, everything = str(HELD_OUT), str(ALL_CELLS)
    rows = [
        scored(0.7, 0.5, "cytovae:paper-bodenmiller", dataset="A02", protocol=held),
        scored(0.8, 0.5, "cytovae:paper-bodenmiller", dataset="A03", protocol=held),
        *(scored(f, 0.4, "flowsom", k, dataset="A02", protocol=everything) for k, f in ((10, 0.6), (15, 0.5))),
        *(scored(f, 0.4, "flowsom", k, dataset="A02", protocol=held) for k, f in ((10, 0.61), (15, 0.51))),
    ]
    text = bodenmiller_table(rows)
    ours = cells_of(text, "cytovae:paper-bodenmiller")
    assert ours[2] == f"0.750 ± {stdev([0.7, 0.8]):.3f}"
    assert ours[-2:] == ["2", "0.772 ± 0.050"]
    oracles = [line for line in text.splitlines() if line.startswith("| FlowSOM *oracle*")]
    assert [("0.600 (K=10)" in line, line.endswith("| 0.648 |")) for line in oracles] == [(True, True), (False, False)]
    assert cells_of(text, "X-shift (not run)")[-1] == "0.642"
    assert cells_of(text, "PhenoGraph (not run)")[-1] == "0.688"
    assert [known.mean for known in TABLE_A1] == [0.7725, 0.648, 0.642, 0.688]
