"""What `cytovae train` says about the panel, the clusters and what comes next."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich import box
from rich.table import Table

from cytovae.cli import console

if TYPE_CHECKING:
    from cytovae.events.compensation import Compensation
    from cytovae.events.panel import Panel
    from cytovae.events.transform import Transform
    from cytovae.inference.trained_model import Learning
    from cytovae.naming.naming import Naming
    from cytovae.study.train_study import CompleteModel, TrainingResult, TrainStudy

_MOST_FILES_SPELLED = 3


def say_panel(study: "TrainStudy") -> None:
    """Print the transform, the markers, and the markers and compensation that a user may not expect."""
    if study.choice is not None:
        console.say(f"{study.choice}; --transform and --cofactor choose otherwise")
    console.say(describe_panel(study.panel, study.transform))
    if study.unused_state_markers:
        names = ", ".join(study.unused_state_markers)
        console.say(f"state markers, not used for clustering: {names} (--state-markers uses them)")
    if study.compensation.source != "none":
        console.say(f"compensated by {describe_compensation(study.compensation)}")


def describe_panel(panel: "Panel", transform: "Transform") -> str:
    """The markers on one line, with the transform; a cofactor of its own stands behind its marker."""
    cofactors = [marker.cofactor for marker in panel.markers]
    usual = max(set(cofactors), key=cofactors.count)
    own = transform.kind == "arcsinh"
    names = [
        f"{marker.name} (/ {marker.cofactor:g})" if own and marker.cofactor != usual else marker.name
        for marker in panel.markers
    ]
    scale = f"arcsinh(x / {usual:g})" if own else describe_transform(transform)
    return f"{len(panel)} markers, {scale}: {', '.join(names)}"


def describe_transform(transform: "Transform") -> str:
    """A transform without cofactors in a few words."""
    if transform.kind != "logicle":
        return "values as they are"
    scale = transform.logicle
    return f"logicle (T {scale.t:g}, W {scale.w:g}, M {scale.m:g}, A {scale.a:g})"


def describe_compensation(compensation: "Compensation") -> str:
    """Where the matrix comes from."""
    if compensation.spillover is None:
        return "each file's own matrix"
    return f"one matrix of {len(compensation.spillover.channels)} channels"


def summary(learning: "Learning", seconds: dict[str, float]) -> Table:
    """The clusters with the training cells in each, and beside them the seconds of each stage."""
    cells = np.bincount(learning.clusters, minlength=learning.model.highest_cluster + 1)[1:]
    clusters = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("cluster", "training cells", "share"):
        clusters.add_column(title, justify="right")
    for number, count in enumerate(cells.tolist(), start=1):
        clusters.add_row(str(number), f"{count:,}", f"{count / cells.sum():.1%}")
    stages = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    stages.add_column("stage")
    stages.add_column("seconds", justify="right")
    for stage, spent in seconds.items():
        stages.add_row(stage, f"{spent:.1f}")
    page = Table.grid(padding=(0, 4))
    page.add_row(clusters, stages)
    return page


def say_result(output: Path, result: "TrainingResult | CompleteModel", files: Sequence[Path], *, quiet: bool) -> None:
    """Print what was learned and the command that comes next, or that there was nothing left to train."""
    from cytovae.study.train_study import CompleteModel

    if isinstance(result, CompleteModel):
        say_complete(output, result)
        return
    if quiet:
        return
    console.talk.print(summary(result.learning, result.seconds))
    if result.saved.model.naming is not None:
        say_names(result.saved.model.naming)
    console.say(f"wrote {output}; next: cytovae assign {output} {spell_files(files)} -o cells.parquet")


def say_names(naming: "Naming") -> None:
    """Print the populations that were found, with what speaks for them, and those that were not."""
    if naming.labelled:
        labels = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        labels.add_column("population")
        labels.add_column("labelled training cells", justify="right")
        for name, cells in naming.labelled:
            labels.add_row(name, f"{cells:,}")
        console.talk.print(labels)
    if not naming.evidence and not naming.not_found:
        return
    names = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for title in ("population", "training cells", "agreement", "next best", "agreement"):
        names.add_column(title, justify="left" if title in ("population", "next best") else "right")
    for each in naming.evidence:
        following = (each.next_best, f"{each.next_agreement:.0%}") if each.next_best else ("", "")
        names.add_row(each.name, f"{each.cells:,}", f"{each.agreement:.0%}", *following)
    console.talk.print(names)
    if naming.not_found:
        console.say(f"not found: {', '.join(naming.not_found)}")


def say_complete(output: Path, complete: "CompleteModel") -> None:
    """Print that there was nothing left to train."""
    done = f"cut into {complete.n_clusters} clusters" if complete.recut else "there is nothing to resume"
    console.say(f"{output} is complete, {done}")


def spell_files(files: Sequence[Path]) -> str:
    """The files of a command, for an example of the next one."""
    return shlex.join(map(str, files)) if len(files) <= _MOST_FILES_SPELLED else "FILE..."
