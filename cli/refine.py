"""`cytovae refine`: a model and files to a model that knows more of one cluster."""

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cytovae.cli import console, options
from cytovae.errors import UsageError

if TYPE_CHECKING:
    from cytovae.study.refine_study import Refinement


def refine_cli(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Folder that `cytovae train` or `refine` wrote.")],
    files: options.Files,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="MODEL2", help="Folder to write the new model to.", show_default=False),
    ],
    cluster: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="A cluster to refine; may be given several times.", show_default=False),
    ] = None,
    population: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A population to refine: all clusters of that name together; may be given several times.",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        str, typer.Option(metavar="N|auto", help="How many parts; auto: as many as the data suggest.")
    ] = "auto",
    qc: options.QualityControl = None,
    layer: options.Layer = None,
    file_key: options.FileKey = None,
    data_set: options.DataSet = None,
    offsets: options.Offsets = "auto",
    seed: options.Seed = 0,
    device: options.Device = "auto",
    threads: options.Threads = None,
    force: options.Force = False,
    quiet: options.Quiet = False,
) -> None:
    """Learn again inside a cluster and write a model in which its parts are clusters.

    The files are assigned, and a second network learns from at most 20,000 cells of the cluster, with the settings of
    MODEL. Its probabilities are multiplied by that of the cluster. The number of the cluster is retired, its parts have
    the numbers after the highest one, and all other clusters keep theirs. A cluster that does not split stays as it is.
    MODEL2 is used like any model, also by refine.

    Example: cytovae refine model/ sample_data/*.fcs --cluster 3 -o refined/
    """
    from cytovae.cli.assign import open_study
    from cytovae.model_folder.input_files import identities
    from cytovae.model_folder.save import check_model_target
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.cuts import AS_TRAINED
    from cytovae.study.protected_files import protected_files
    from cytovae.study.refine_study import clusters_to_refine, refine_study

    n_parts = _number_of_parts(parts)
    paths = options.named_files(files)
    before = identities(paths)
    protected_files(files=paths, tables=(qc,), model=model).check_folder(output)
    check_model_target(output, force=force)
    workers = options.n_threads(threads)
    use_threads(1, with_umap=True)
    study = open_study(
        model,
        paths,
        cuts=AS_TRAINED,
        names=None,
        samples=None,
        umap=False,
        layer=layer,
        file_key=file_key,
        data_set=data_set,
        offsets=offsets,
        device=device,
        workers=workers,
        quiet=quiet,
    )
    groups = clusters_to_refine(study.saved.model, cluster or (), population or ())
    study = replace(study, quality=options.flags_of(qc, study.raw, data_set))
    options.warn_about(study.files)
    with console.stages(quiet=quiet, announce=True) as progress:
        results = refine_study(
            study,
            groups,
            model,
            output,
            n_parts=n_parts,
            seed=seed,
            device=resolve_device(device),
            workers=workers,
            force=force,
            argv=sys.argv,
            reading=options.reading_of(layer, file_key, data_set, offsets),
            identities=before,
            progress=progress,
        )
    if not quiet:
        _say_results(results)
        console.say(f"wrote {output}")


def _number_of_parts(text: str) -> int | None:
    if text == "auto":
        return None
    if (number := options.whole_number(text)) and number > 1:
        return number
    raise UsageError(f"--parts takes a number from 2 on, or auto, not {text[:80]!r}")


def _say_results(results: "Sequence[Refinement]") -> None:
    """A line about each cluster, or the clusters of one population."""
    for result in results:
        several = len(result.retired) > 1
        name = f"cluster{'s' if several else ''} {', '.join(map(str, result.retired))}"
        learned = f" (learned from {result.n_learned:,})" if result.n_learned < result.n_cells else ""
        became = f"split into {', '.join(map(str, result.parts))}" if result.parts else "no split found, unchanged"
        console.say(f"{name}: {result.n_cells:,} cells{learned}, {became}")
