"""`cytovae assign`: clusters and probabilities of every cell of FCS files, from a trained model."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import typer

from cytovae.cli import console, options
from cytovae.errors import OutputError, UsageError

if TYPE_CHECKING:
    from cytovae.outputs.formats import AssignmentSink
    from cytovae.study.assign_study import AssignedFile, AssignStudy
    from cytovae.study.cuts import Cuts


def assign_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train` wrote.")],
    files: options.Files,
    output: Annotated[
        str,
        typer.Option(
            "--output",
            "-o",
            metavar="OUT",
            help="A .parquet, .csv or .h5ad table of all files, DIR/ for one output each, or - for standard output. "
            "fcs, clr and flowjo-csv need DIR/ where there are several files.",
            show_default=False,
        ),
    ],
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="parquet; csv; fcs (all channels, raw, with cytovae_cluster and cytovae_probability); "
            "clr (FlowJo: a probability per class); flowjo-csv (FlowJo: the class); h5ad (AnnData, for scanpy).",
            show_default="by suffix",
        ),
    ] = None,
    clusters: Annotated[
        str,
        typer.Option(
            metavar="N|N,…|auto",
            help="Cut into N clusters; auto: as trained. A list such as 8,20,auto writes cluster_8, cluster_20 and, "
            "for auto, cluster. Probabilities, names and tables belong to cluster, else to the first number.",
        ),
    ] = "auto",
    names: options.Names = None,
    types: options.Types = None,
    samples: options.Samples = None,
    umap: Annotated[
        bool,
        typer.Option(
            "--umap",
            help="Add UMAP coordinates, interpolated between the landmarks nearest in the latent space: "
            "columns umap_1, umap_2; obsm X_umap; FCS channels.",
        ),
    ] = False,
    split_by: Annotated[
        Literal["population", "cluster"] | None,
        typer.Option(
            help="With --format fcs and DIR/: a file DIR/NAME/POPULATION.fcs for each population (needs names) or "
            "cluster of each file.",
            show_default=False,
        ),
    ] = None,
    tables: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write clusters.csv (cells and support), abundance.csv (cells per file and cluster), "
            "cluster_medians.csv (all channels, not transformed), and the last two per sample and population, "
            "sample_abundance.csv and sample_medians.csv, there. "
            "With --qc only events that pass count.",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    threads: options.Threads = None,
    gates: options.Gates = None,
    qc: options.QualityControl = None,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
    zero_ungated: options.ZeroUngated = False,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Assign every cell of FCS files to a cluster, with probabilities.

    Markers are found by name, whatever their order. The table has a row for each event, in the order of the file, with
    the columns file, event (from 0), cluster (from 1), probability (of that cluster), p_1 … p_K. Where clusters
    have names, it also has population and population_probability. Names come from --names, else from --types, else from
    the model, if it was trained with --types; numbers of clusters stay. With --qc, all events are assigned, and the
    column qc is `pass` or the reason why an event fails quality control.

    Example: cytovae assign model/ sample_data/*.fcs -o with_clusters/ --format fcs --tables tables/
    """
    from cytovae.outputs.formats import output_format
    from cytovae.study import assign_outputs
    from cytovae.study.cuts import parse_cuts
    from cytovae.study.protected_files import protected_files

    cuts = parse_cuts(clusters)
    is_folder = assign_outputs.is_folder_name(output)
    form = output_format(output, kind or ("parquet" if is_folder else None))
    paths = options.named_files(files)
    _check_format(form, is_folder=is_folder, umap=umap, qc=qc is not None, split=split_by is not None, cuts=cuts)
    protected = protected_files(files=paths, tables=(names, types, samples, *(gates or ()), qc), model=model)
    stems = None
    if file_key is not None and is_folder:
        stems = [file.part or file.path.stem for file in options.open_files(paths, layer=layer, file_key=file_key)]
    targets = assign_outputs.plan_targets(
        output, paths, form, protected, is_folder=is_folder, force=force or split_by is not None, stems=stems
    )
    if tables is not None:
        assign_outputs.check_tables(tables, targets, protected, force=force)

    study = open_study(
        model,
        paths,
        cuts=cuts,
        names=names,
        types=types,
        samples=samples,
        umap=umap,
        layer=layer,
        file_key=file_key,
        data_set=data_set,
        offsets=offsets,
        device=device,
        workers=options.n_threads(threads),
        quiet=quiet,
    )
    labels = options.read_gates(gates, study.raw, zero_ungated=zero_ungated)
    study = replace(study, gates=labels, quality=options.flags_of(qc, study.raw, data_set))
    if split_by is not None:
        study, targets = assign_outputs.split_study(study, targets, split_by, protected, force=force)
    options.warn_about(study.files)
    summary = assign_outputs.summaries_of(study) if tables is not None else None
    assigned: list[AssignedFile] = []
    try:
        if is_folder:
            Path(output).mkdir(parents=True, exist_ok=True)
        if tables is not None:
            tables.mkdir(parents=True, exist_ok=True)
        for target in targets:
            of_target = target.files if len(targets) > 1 else range(len(study.files))
            with assign_outputs.open_writer(
                study, replace(target, files=tuple(of_target)), form, force=force
            ) as writer:
                sinks = [writer, *([summary] if summary else [])]
                assigned += [assign_with_progress(study, index, sinks, quiet=quiet) for index in of_target]
            if isinstance(target.path, Path) and not quiet:
                console.say(f"wrote {target.path}")
        if summary is not None and tables is not None:
            for path in assign_outputs.write_tables(tables, summary, force=force):
                if not quiet:
                    console.say(f"wrote {path}")
    except OSError as error:
        raise OutputError(f"{error.filename or output} cannot be written: {error.strerror or error}") from error
    if labels is not None:
        from cytovae.cli.score import show_scores

        cluster = np.concatenate([file.cluster for file in assigned])
        shown = console.talk if output == "-" else console.results
        show_scores(shown, cluster, labels, study.n_clusters, study.names)


def _check_format(form: str, *, is_folder: bool, umap: bool, qc: bool, split: bool, cuts: "Cuts") -> None:
    """Refuse options that the format of the output has no place for."""
    for asked, what, option in ((umap, "UMAP coordinates", "--umap"), (qc, "quality control", "--qc")):
        if asked and form in ("clr", "flowjo-csv"):
            raise UsageError(f"{form} has no place for {what}; leave {option} out or choose another format")
    if split and not (form == "fcs" and is_folder):
        raise UsageError("--split-by writes folders of FCS files; add --format fcs and end the output with a slash")
    if cuts.further and form == "clr":
        raise UsageError("clr holds the classes of one number of clusters; name one, or choose another format")


def assign_with_progress(
    study: "AssignStudy", index: int, sinks: "Sequence[AssignmentSink]" = (), *, quiet: bool
) -> "AssignedFile":
    """Assign one file of ``study`` with a progress bar, and print a line about it."""
    from cytovae.study.assign_study import assign_file

    file = study.files[index]
    if not file.n_events:
        console.warn(f"{file.name} has no events")
    with console.meter(file.name, file.n_events) if not quiet else nullcontext() as meter:
        assigned = assign_file(study, index, sinks, meter.update if meter is not None else lambda _done: None)
    if file.n_events and not quiet:
        console.say(
            f"{file.name}: {file.n_events:,} cells in {assigned.n_used} of {assigned.n_clusters} clusters, "
            f"mean probability {assigned.mean_probability:.3f}, {assigned.seconds:.1f} s"
        )
    return assigned


def open_study(
    model: Path,
    paths: Sequence[Path],
    *,
    cuts: "Cuts",
    names: Path | None,
    types: Path | None = None,
    samples: Path | None,
    umap: bool,
    layer: str | None = None,
    file_key: str | None = None,
    data_set: int | None = None,
    offsets: Literal["auto", "header", "text"] = "auto",
    device: str,
    workers: int,
    quiet: bool = False,
) -> "AssignStudy":
    """The model, the files and what else the outputs need."""
    from cytovae.annotations.cluster_names import name_clusters, read_names
    from cytovae.inference.assigner import Assigner
    from cytovae.inference.refined import check_clusters
    from cytovae.inference.umap_placement import Interpolator
    from cytovae.model_folder.load import load_model
    from cytovae.model_folder.record import load_landmark_places
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.assign_study import open_assign_study
    from cytovae.study.cuts import AS_TRAINED

    if types is not None and cuts != AS_TRAINED:
        raise UsageError("--types names the clusters of the model as it was trained; leave --clusters out")
    resolved_device = resolve_device(device)
    saved = load_model(model)
    if cuts.main is not None:
        saved = replace(saved, model=saved.model.with_clusters(cuts.main))
    assigner = Assigner(saved.model, resolved_device, cuts.further)
    given = {} if names is None else read_names(names, saved.model.highest_cluster)
    check_clusters(saved.model, tuple(given))
    panel_types = None if types is None else options.types_of(types, saved.panel.names, quiet=quiet)
    raw = options.open_files(paths, layer=layer, file_key=file_key, data_set=data_set, offsets=offsets)
    use_threads(1)  # chunks are processed in parallel, one thread each
    study = open_assign_study(
        saved,
        raw,
        assigner,
        cuts=cuts,
        samples=options.sheet_of(samples, raw),
        interpolator=Interpolator(load_landmark_places(model)) if umap else None,
        workers=workers,
    )
    if panel_types is not None:
        from cytovae.study.name_clusters import name_clusters_by_table

        naming = name_clusters_by_table(saved.model, study.files, panel_types)
        study = replace(study, saved=replace(saved, model=replace(saved.model, naming=naming)))
        if naming.not_found and not quiet:
            console.say(f"not found: {', '.join(naming.not_found)}")
    known = study.saved.model.names
    named = name_clusters(given, study.n_clusters, known) if given or names or known else None
    return replace(study, names=named)
