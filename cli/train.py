"""`cytovae train`: FCS files to a model folder."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from cytovae.cells import CellTable, GateLabels
from cytovae.cli import console, options
from cytovae.cli.training_talk import say_panel, say_result
from cytovae.errors import UsageError
from cytovae.settings import PRESETS, Metric, Settings, generating, preset

if TYPE_CHECKING:
    from cytovae.events.transform import Logicle
    from cytovae.inference.trained_model import SavedModel
    from cytovae.model_folder.checkpoint import Checkpoint
    from cytovae.quality.flags import EventFlags
    from cytovae.study.sampling import Sampling
    from cytovae.study.train_study import TrainStudy

MOST_RESAMPLES = 1_000


def train_cli(
    files: options.Files,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="MODEL", help="Folder to write the model to.", show_default=False)
    ],
    markers: Annotated[
        str | None, typer.Option(metavar="A,B", help="Markers to use.", show_default="all that look like a type marker")
    ] = None,
    panel: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="Panel table instead of --markers, as written by `inspect --panel-out`."),
    ] = None,
    exclude: Annotated[str | None, typer.Option(metavar="A,B", help="Markers to leave out.")] = None,
    state_markers: Annotated[bool, typer.Option("--state-markers", help="Cluster on state markers, too.")] = False,
    cofactor: Annotated[
        float | None,
        typer.Option(
            help="Of arcsinh(x / cofactor). By default the instrument decides: 5 for mass, 150 for flow, 3000 for "
            "spectral flow cytometry.",
            show_default="auto",
        ),
    ] = None,
    transform: Annotated[
        Literal["auto", "arcsinh", "logicle", "none"],
        typer.Option(
            help="auto chooses arcsinh, or none for values that are transformed already; logicle is for flow cytometry."
        ),
    ] = "auto",
    logicle: Annotated[
        str | None,
        typer.Option(
            metavar="T,W,M,A",
            help="Of --transform logicle: top of scale, linear, all, negative decades.",
            show_default="262144,0.5,4.5,0",
        ),
    ] = None,
    compensate: Annotated[
        str | None,
        typer.Option(
            metavar="file|CSV",
            help="Take spillover off before the transform: by each file's own matrix ($SPILLOVER), or by one in a "
            "table. The model does the same to files that are assigned.",
        ),
    ] = None,
    max_events_per_file: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Learn from at most N cells of each file.")
    ] = None,
    sampling: Annotated[
        Literal["equal", "proportional"],
        typer.Option(help="The same number of cells of each file, or the same share."),
    ] = "proportional",
    preset_name: Annotated[
        str, typer.Option("--preset", metavar="NAME", help=f"Settings to start from: {', '.join(PRESETS)}.")
    ] = "default",
    metric: Annotated[Metric | None, typer.Option(help="Distance between cells, for UMAP.")] = None,
    similarity: Annotated[
        Literal["partition", "radius", "neighbors"] | None,
        typer.Option(help="Which cells are similar, from their UMAP coordinates."),
    ] = None,
    radius: Annotated[float | None, typer.Option(help="Of --similarity radius, in UMAP coordinates.")] = None,
    neighbors: Annotated[
        int | None, typer.Option(min=1, metavar="K", help="Of --similarity neighbors, within a batch.")
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SPEC",
            show_default=False,
            help="Known populations of some cells, as --gates: `assign` finds them in any file. Empty = not labelled.",
        ),
    ] = None,
    types: options.Types = None,
    clusters: Annotated[str, typer.Option(metavar="N|auto", help="How many clusters the experts make.")] = "auto",
    support: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=MOST_RESAMPLES,
            metavar="N",
            help="Samples of the cells in which each cluster is looked for again, to measure its support; 0 = none.",
        ),
    ] = None,
    experts: Annotated[int | None, typer.Option(min=1, metavar="N", help="Experts of the decoder.")] = None,
    steps: options.Steps = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Cells in a batch.")] = None,
    generative: Annotated[
        bool,
        typer.Option(
            "--generative", help="Learn to make new cells, too (`cytovae generate`): with the KL term and noisy codes."
        ),
    ] = False,
    landmarks: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="Cells to train on, drawn from those read; 0 = all.")
    ] = None,
    gates: options.Gates = None,
    qc: options.QualityControl = None,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
    zero_ungated: options.ZeroUngated = False,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=options.MOST_THREADS,
            metavar="N",
            help="Processors that find neighbours and populations. The network trains on one, because its steps are "
            "small. The model does not depend on it.",
            show_default="all",
        ),
    ] = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on with the same command that was broken off; from the start if none was. A complete model with "
            "another number of --clusters is only cut again, with --force.",
        ),
    ] = False,
    save_every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="How often the state of training is kept for --resume.")
    ] = 60,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn the populations of FCS files and write the model.

    The markers are chosen in the first file and found in the others by name. At most 200,000 cells are read, and the
    model learns from the landmarks among them; `cytovae assign` then assigns all cells.

    Settings that are not given come from the preset.

    While there is no model, .MODEL.state beside it holds what --resume continues from: every finished stage, and the
    training as it was a minute ago or when a signal came (SIGINT: exit code 130; SIGTERM, SIGUSR1, SIGHUP: 143).

    Example: cytovae train sample_data/*.fcs -o model --exclude CD45 --gates beside
    """
    chosen = {
        "metric": metric, "similarity": similarity, "radius": radius, "neighbors": neighbors,
        "experts": experts, "steps": steps, "batch": batch_size, "landmarks": landmarks, "support": support,
    }  # fmt: skip
    settings = _settings(preset_name, chosen, generative=generative)
    n_clusters, scale = _number_of_clusters(clusters, types), _logicle(logicle, transform)
    paths = options.named_files(files)
    workers = options.workers_for_training(threads, paths, settings)

    from cytovae.model_folder.checkpoint import Checkpoint
    from cytovae.model_folder.input_files import identities
    from cytovae.model_folder.save import check_model_target
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.protected_files import protected_files
    from cytovae.study.train_study import CompleteModel, labels_of_cells, open_train_study, train_study

    use_threads(1, with_umap=True)
    device, before, compensation = resolve_device(device), identities(paths), options.compensation_of(compensate)
    protected_files(files=paths, tables=(panel, compensate, qc, types, *(labels or ()), *(gates or ()))).check_folder(
        output
    )
    check_model_target(output, force=force or resume)
    checkpoint = Checkpoint(output, resume=resume, force=force, every=save_every, warn=console.warn)
    with _hint_on_interrupt(checkpoint), checkpoint:
        study = open_train_study(
            options.open_files(paths, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets),
            markers=options.words(markers, "--markers"),
            exclude=options.words(exclude, "--exclude"),
            panel_csv=panel,
            state_markers=state_markers,
            transform=transform,
            cofactor=cofactor,
            logicle=scale,
            compensation=compensation,
            identities=before,
        )
        known = options.labels_to_learn(labels, study.raw, zero_ungated=zero_ungated)
        truth = options.read_gates(gates, study.raw, zero_ungated=zero_ungated)
        _check_and_say_panel(study, generative=generative, quiet=quiet)
        panel_types = options.types_of(types, study.panel.names, quiet=quiet)
        flags = options.flags_of(qc, study.raw, data_set)
        cells, seconds_of_reading = _read_cells(study, settings, max_events_per_file, sampling, seed, flags, known)
        if not quiet:
            _say_read(study, cells, flags, device)
        with console.stages(quiet=quiet, announce=True) as progress:
            result = train_study(
                study,
                cells,
                output,
                settings,
                seed=seed,
                device=device,
                labels=None if known is None else labels_of_cells(known, cells, study.files),
                types=panel_types,
                n_clusters=n_clusters,
                workers=workers,
                checkpoint=checkpoint,
                resume=resume,
                force=force,
                argv=sys.argv,
                reading=options.reading_of(layer, file_key, data_set, offsets),
                seconds_of_reading=seconds_of_reading,
                resumed=lambda found: None if quiet else _say_resumed(checkpoint, found=found),
                progress=progress,
            )
    say_result(output, result, files, quiet=quiet)
    if truth is not None and not isinstance(result, CompleteModel):
        _show_scores(study, result.saved, truth, device, quiet=quiet)


def _check_and_say_panel(study: "TrainStudy", *, generative: bool, quiet: bool) -> None:
    """Refuse a panel that the model cannot have, print the panel, and warn about the files."""
    from cytovae.study.train_study import check_generative

    if generative:
        check_generative(study.panel)
    if not quiet:
        say_panel(study)
    options.warn_about(study.files)


def _read_cells(
    study: "TrainStudy",
    settings: Settings,
    max_events_per_file: int | None,
    sampling: "Sampling",
    seed: int,
    flags: "EventFlags | None",
    labels: GateLabels | None,
) -> "tuple[CellTable, float]":
    """The training cells, and the seconds that reading them took. Warns about constant markers."""
    from cytovae.study.sampling import MOST_TRAINING_CELLS, constant_markers, draw_cells

    began = perf_counter()
    cells = draw_cells(
        study.files,
        max_events_per_file=max_events_per_file,
        sampling=sampling,
        at_most=max(MOST_TRAINING_CELLS, settings.landmarks) if settings.landmarks else None,
        seed=seed,
        passing=None if flags is None else flags.passing(),
        labels=None if labels is None else labels.population,
    )
    seconds = perf_counter() - began
    if constant := constant_markers(cells, study.files):
        console.warn(f"{', '.join(constant)}: the same value in all cells, cannot separate populations")
    return cells, seconds


def _say_read(study: "TrainStudy", cells: CellTable, flags: "EventFlags | None", device: str) -> None:
    if flags is not None:
        console.say(f"{flags.n_failed:,} cells fail quality control; the model does not learn from them")
    console.say(f"read {len(cells):,} of {study.n_events:,} cells, device {device}")


def _logicle(text: str | None, transform: str) -> "Logicle":
    from cytovae.events.transform import Logicle

    if text is None:
        return Logicle()
    if transform != "logicle":
        raise UsageError(f"--logicle only means something with --transform logicle, not {transform}")
    try:
        t, w, m, a = (float(word) for word in text.split(","))
    except ValueError as error:
        raise UsageError(f"--logicle takes four numbers T,W,M,A, not {text!r}") from error
    return Logicle(t, w, m, a)


def _settings(preset_name: str, chosen: Mapping[str, object], *, generative: bool) -> Settings:
    """The preset with the chosen settings. Raises :class:`UsageError` for an option that would have no effect."""
    given = {name: value for name, value in chosen.items() if value is not None}
    settings = replace(preset(preset_name), **given)  # type: ignore[arg-type]
    for name in ("radius", "neighbors"):
        if name in given and settings.similarity != name:
            raise UsageError(f"--{name} only means something with --similarity {name}, not {settings.similarity}")
    return generating(settings) if generative else settings


def _number_of_clusters(text: str, types: Path | None) -> int | None:
    if text == "auto":
        return None
    if types is not None:
        raise UsageError("--types decides the number of clusters; leave --clusters out")
    if number := options.whole_number(text):
        return number
    raise UsageError(f"--clusters takes a number from 1 on, or auto, not {text[:80]!r}")


@contextmanager
def _hint_on_interrupt(checkpoint: "Checkpoint") -> Iterator[None]:
    """After a signal, say how to continue."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if checkpoint.saved:
            console.say(
                f"the finished stages are kept in {checkpoint.folder}; repeat the command with --resume to continue"
            )
        raise


def _say_resumed(checkpoint: "Checkpoint", *, found: bool) -> None:
    console.say(f"continuing from {checkpoint.folder}" if found else "nothing to resume, starting from the beginning")


def _show_scores(study: "TrainStudy", saved: "SavedModel", truth: GateLabels, device: str, *, quiet: bool) -> None:
    """Assign all cells of the files and print the F-measures against their gates."""
    from cytovae.cli.assign import assign_with_progress
    from cytovae.cli.score import show_scores
    from cytovae.inference.assigner import Assigner
    from cytovae.network.device import use_threads
    from cytovae.study.assign_study import AssignStudy

    use_threads(1)
    assigned = AssignStudy(
        study.raw, study.files, saved, Assigner(saved.model, device), workers=options.n_threads(None)
    )
    cluster = [assign_with_progress(assigned, index, quiet=quiet).cluster for index in range(len(study.files))]
    show_scores(console.results, np.concatenate(cluster), truth, saved.model.highest_cluster)
