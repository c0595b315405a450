"""The outputs of `cytovae assign`: planned and checked before any work, then written."""

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cytovae import __version__
from cytovae.atomic import check_files_in, check_target
from cytovae.cells import Assignment, GateLabels
from cytovae.errors import UsageError
from cytovae.outputs.formats import ONE_FILE_EACH, AssignmentSink, OutputFormat, assignment_writer, suffix_of
from cytovae.plain_file import folder_exists, resolved
from cytovae.study.assign_study import AssignStudy
from cytovae.study.protected_files import ProtectedFiles

if TYPE_CHECKING:
    from cytovae.outputs.cluster_summary import ClusterSummary
    from cytovae.outputs.sample_summary import SampleSummary

TABLES = ("clusters.csv", "abundance.csv", "cluster_medians.csv", "sample_abundance.csv", "sample_medians.csv")


@dataclass(frozen=True)
class Target:
    """One output: where it goes, and the files (positions in the study) whose cells it holds."""

    path: Path | IO[bytes]
    files: tuple[int, ...]


def plan_targets(
    output: str,
    files: Sequence[Path],
    form: OutputFormat,
    protected: ProtectedFiles,
    *,
    is_folder: bool,
    force: bool,
    stems: Sequence[str] | None = None,
) -> tuple[Target, ...]:
    """The outputs to write, checked before any work.

    Parameters
    ----------
    output : str
        A file, a folder, or "-" for standard output.
    files : sequence of Path
        The files to assign.
    form : OutputFormat
        Format of the outputs.
    protected : ProtectedFiles
        The files that must not be replaced.
    is_folder : bool
        Whether ``output`` is a folder with one output for each file.
    force : bool
        Whether existing outputs may be replaced.
    stems : sequence of str, optional
        Names of the outputs in a folder, without suffix. Default: those of ``files``.

    Raises
    ------
    UsageError
        If the format holds one file only, two outputs would have one name, or an output would replace an input.
    OutputError
        If an output cannot be written.
    """
    if form in ONE_FILE_EACH and len(files) > 1 and not is_folder:
        raise UsageError(f"{form} holds one file; end {output} with a slash to get one for each of {len(files)} files")
    everything = tuple(range(len(files)))
    if output == "-":
        return (Target(sys.stdout.buffer, everything),)
    if is_folder:
        stems = [Path(stem).stem for stem in stems] if stems else [file.stem for file in files]
        targets = tuple(Target(Path(output) / f"{stem}{suffix_of(form)}", (index,)) for index, stem in enumerate(stems))
    else:
        targets = (Target(Path(output), everything),)
    paths = [resolved(target.path) for target in targets if isinstance(target.path, Path)]
    if len(set(paths)) < len(paths):
        raise UsageError(f"files of the same name cannot each have an output in {output}; write one table instead")
    for path in paths:
        protected.check(path)
        if folder_exists(path.parent) or not is_folder:
            check_target(path, force=force)
    return targets


def check_tables(folder: Path, targets: Sequence[Target], protected: ProtectedFiles, *, force: bool) -> None:
    """Raise before any work if a summary table cannot be written to ``folder`` or would replace something else."""
    outputs = [resolved(target.path) for target in targets if isinstance(target.path, Path)]
    for name in TABLES:
        protected.check(folder / name)
        if resolved(folder / name) in outputs:
            raise UsageError(f"--tables would write over another output, {folder / name}")
    check_files_in(folder, TABLES, force=force)


def split_study(
    study: AssignStudy, targets: Sequence[Target], by: str, protected: ProtectedFiles, *, force: bool
) -> tuple[AssignStudy, tuple[Target, ...]]:
    """The study and its targets, where each is a folder with a file for each population ("population") or cluster.

    Raises
    ------
    UsageError
        If clusters have no names, or a file would replace an input.
    OutputError
        If a folder cannot be written.
    """
    from cytovae.outputs.fcs_copy import check_split, split_stems

    if by == "population" and not study.populations:
        raise UsageError("clusters have no names; give some with --names, or use --split-by cluster")
    split = study.populations if by == "population" else tuple(f"cluster_{n + 1}" for n in range(study.n_clusters))
    folders = tuple(replace(target, path=Path(str(target.path)).with_suffix("")) for target in targets)
    for folder in folders:
        path = Path(str(folder.path))
        protected.check(*(path / f"{stem}.fcs" for stem in split_stems(split).values()))
        check_split(path, split, force=force)
    return replace(study, split=split), folders


def open_writer(
    study: AssignStudy, target: Target, form: OutputFormat, *, force: bool
) -> "AbstractContextManager[AssignmentSink]":
    """A context manager that writes the files of ``target``; the output appears when it ends without an error."""
    saved = study.saved
    gates = None
    if study.gates is not None:
        last = np.cumsum([file.n_events for file in study.files])
        gated = np.split(study.gates.population, last[:-1])
        gates = GateLabels(np.concatenate([gated[index] for index in target.files]), study.gates.names)
    retired = saved.model.retired_clusters
    about = {
        "version": __version__,
        "transform": saved.transform.kind,
        "compensation": saved.compensation.source,
        "n_clusters": study.saved.model.n_clusters,
        "settings": asdict(saved.model.settings),
        **({"retired_clusters": list(retired)} if retired else {}),
        "probability_of": study.cuts.column if study.cuts.further else None,
    }
    return assignment_writer(
        target.path,
        form,
        [study.files[index] for index in target.files],
        [study.raw[index] for index in target.files],
        study.n_clusters,
        encode=lambda values: study.assigner.codes(values),
        about=about,
        gates=gates,
        extras=study.extras,
        split=study.split,
        force=force,
    )


@dataclass(frozen=True, eq=False)
class Summaries:
    """The content of the summary tables, to be filled while files are assigned."""

    clusters: "ClusterSummary"
    samples: "SampleSummary"
    support: NDArray[np.float32] | None

    def write(self, file: str, first_event: int, assignment: Assignment) -> None:
        """Add the cells of consecutive events of ``file``, from ``first_event`` on."""
        self.clusters.write(file, first_event, assignment)
        self.samples.write(file, first_event, assignment)


def summaries_of(study: AssignStudy) -> Summaries:
    """Empty summaries of the files of ``study``."""
    from cytovae.outputs.cluster_summary import ClusterSummary
    from cytovae.outputs.sample_summary import SampleSummary

    options: Any = {"populations": study.populations, "samples": study.samples}
    options |= {"retired": study.saved.model.retired_clusters, "known_below": study.known_below}
    return Summaries(
        ClusterSummary(study.files, study.n_clusters, **options),
        SampleSummary(study.files, study.n_clusters, **options),
        study.saved.model.tree.cluster_support(study.saved.model.n_clusters),
    )


def write_tables(folder: Path, summaries: Summaries, *, force: bool) -> tuple[Path, ...]:
    """Write the summary tables; returns their paths."""
    from cytovae.outputs.tables import write_table

    folder.mkdir(parents=True, exist_ok=True)
    clusters, samples = summaries.clusters, summaries.samples
    contents = (
        clusters.clusters(summaries.support),
        clusters.abundance(),
        clusters.medians(),
        samples.abundance(),
        samples.medians(),
    )
    for name, table in zip(TABLES, contents, strict=True):
        write_table(folder / name, table, force=force)
    return tuple(folder / name for name in TABLES)


def is_folder_name(output: str) -> bool:
    """Whether ``output`` names a folder: it ends with a slash or is an existing one."""
    return output.endswith(("/", os.sep)) or folder_exists(Path(output))
