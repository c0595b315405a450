"""Model and files to a page: what `cytovae report` does, without a terminal."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING

from cytovae.atomic import check_files_in, check_target, output_errors, whole_file
from cytovae.cells import GateLabels
from cytovae.errors import UsageError
from cytovae.model_folder.record import ModelRecord
from cytovae.plain_file import resolved
from cytovae.report.figures import PICTURE_SUFFIXES, check_figures, write_figures
from cytovae.report.warning import ReportWarning
from cytovae.study.assign_study import AssignStudy
from cytovae.study.protected_files import ProtectedFiles

if TYPE_CHECKING:
    from cytovae.comparison.stored import StoredComparison
    from cytovae.report.content import ReportContent

PACKAGES = ("matplotlib", "jinja2")
TABLES = ("metrics.csv", "warnings.csv")


@dataclass(frozen=True)
class ReportSummary:
    """A report that was written.

    Attributes
    ----------
    n_cells : int
        Number of cells in the report.
    n_bytes : int
        Size of the page.
    n_figures : int
        Number of picture files.
    has_umap : bool
        Whether the page shows a UMAP: the model was trained on at least one of the files.
    n_tables : int
        Number of tables beside the page.
    warnings : tuple of ReportWarning
        What a user should know about the files and the clusters.
    """

    n_cells: int
    n_bytes: int
    n_figures: int
    has_umap: bool
    n_tables: int = 0
    warnings: tuple[ReportWarning, ...] = ()


def check_packages() -> None:
    """Raise :class:`UsageError` if matplotlib or jinja2 is not installed."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise UsageError(
                f"the report needs {package}; install cytovae with its extra: pip install '.[report]' in a checkout"
            )


def check_report(
    target: Path | IO[bytes],
    protected: ProtectedFiles,
    *,
    figures: Path | None = None,
    tables: Path | None = None,
    force: bool = False,
) -> None:
    """Check before any work that a report can be written.

    Parameters
    ----------
    target : Path or binary stream
        The page.
    protected : ProtectedFiles
        The files that must not be replaced.
    figures, tables : Path, optional
        Folders for the pictures and for the tables.
    force : bool
        Whether existing outputs may be replaced.

    Raises
    ------
    UsageError
        If an output would replace an input or another output, or matplotlib or jinja2 is not installed.
    OutputError
        If an output cannot be written.
    """
    if isinstance(target, Path):
        protected.check(target)
        check_target(target, force=force)
    check_packages()
    if figures is not None:
        check_figures(figures, force=force)
        protected.check_names(figures, PICTURE_SUFFIXES)
    if tables is not None:
        for name in TABLES:
            protected.check(tables / name)
            if isinstance(target, Path) and resolved(target) == resolved(tables / name):
                raise UsageError(f"--tables would write over the page, {tables / name}; name another folder")
        check_files_in(tables, TABLES, force=force)


def training_files(record: ModelRecord) -> tuple[Path, ...]:
    """The files that a model was trained on, each once, although several inputs may be parts of one.

    Raises :class:`UsageError` if one of them no longer exists.
    """
    paths = tuple(dict.fromkeys(record.paths))
    missing = [path for path in paths if not path.is_file()]
    if missing or not paths:
        reason = f"{missing[0]} no longer exists" if missing else "the model does not record its training files"
        raise UsageError(f"name the files to report on: {reason} (cytovae report MODEL FILE... -o report.html)")
    return paths


def build_report(
    study: AssignStudy,
    record: ModelRecord,
    target: Path | IO[bytes],
    *,
    model_name: str,
    gates: GateLabels | None = None,
    figures: Path | None = None,
    tables: Path | None = None,
    comparison: "StoredComparison | None" = None,
    max_cells: int = 100_000,
    seed: int = 0,
    force: bool = False,
    progress: Callable[[str, int, int], None] = lambda _stage, _done, _total: None,
) -> ReportSummary:
    """Assign every event of a study and write the page, and the pictures if requested.

    Parameters
    ----------
    study : AssignStudy
        The files and the model.
    record : ModelRecord
        How the model came about.
    target : Path or binary stream
        The page. A file appears whole or not at all.
    model_name : str
        Title of the page.
    gates, max_cells, seed
        See :func:`cytovae.report.collect.collect`.
    figures, tables : Path, optional
        Folders for the pictures as PNG and SVG, and for `metrics.csv` and `warnings.csv`.
    comparison : StoredComparison, optional
        A comparison of groups, to show in the page.
    force : bool
        Whether existing outputs are replaced.
    progress : callable
        Receives the stage, the steps that are done, and all steps of the stage.

    Raises
    ------
    InputError
        If a value is not finite, or no file has an event.
    UsageError
        If the number of gate labels differs from the number of events.
    OutputError
        If an output cannot be written.
    """
    from cytovae.report.collect import collect
    from cytovae.report.page import render_page
    from cytovae.report.pictures import draw_all

    n_events = sum(file.n_events for file in study.files)
    content = collect(
        study,
        record,
        gates=gates,
        max_cells=max_cells,
        seed=seed,
        progress=lambda done: progress("assigning", done, n_events),
    )
    n_markers = len(content.markers)
    pictures = draw_all(
        content, svg=figures is not None, progress=lambda done: progress("drawing markers", done, n_markers)
    )
    page = render_page(content, pictures, model_name, comparison).encode()
    n_figures = write_figures(pictures, figures, force=force) if figures is not None else 0
    if tables is not None:
        _write_tables(tables, content, force=force)
    if isinstance(target, Path):
        with whole_file(target, force=force) as partial:
            partial.write_bytes(page)
    else:
        with output_errors("standard output"):
            target.write(page)
            target.flush()
    n_tables = 0 if tables is None else len(TABLES)
    return ReportSummary(n_events, len(page), n_figures, content.landmarks is not None, n_tables, content.warnings)


def _write_tables(folder: Path, content: "ReportContent", *, force: bool) -> None:
    """Write the figures and the warnings of the report."""
    from cytovae.outputs.tables import write_table
    from cytovae.report.metrics_table import metrics_table, warnings_table

    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for name, table in zip(TABLES, (metrics_table(content), warnings_table(content)), strict=True):
        write_table(folder / name, table, force=force)
