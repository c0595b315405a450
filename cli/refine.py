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
    types: options.Types = None,
    parts: Annotated[
        str, typer.Option(metavar="N|auto", help="How many parts; auto: as many as the data or --types suggest.")
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
    MODEL2 is used like any model, also by refine. With --types, a marker table decides where the cells are divided, and
    names the parts.

    Example: cytovae refine model/ sample_data/*.fcs --cluster 3 -o refined/
    """
    from cytovae.cli.assign import open_study
    from cytovae.model_folder.input_files import identities
    from cytovae.model_folder.save import check_model_target
    from cytovae.network.device import resolve_device, use_threads
    from cytovae.study.cuts import AS_TRAINED
    from cytovae.study.protected_files import protected_files
    from cytovae.study.refine_study import clusters_to_refine, refine_study

    n_parts = _number_of_parts(parts, types)
    paths = options.named_files(files)
    before = identities(paths)
    protected_files(files=paths, tables=(qc, types), model=model).check_folder(output)
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
    panel_types = options.types_of(types, study.saved.panel.names, quiet=quiet)
    study = replace(study, quality=options.flags_of(qc, study.raw, data_set))
    options.warn_about(study.files)
    with console.stages(quiet=quiet, announce=True) as progress:
        results = refine_study(
            study,
            groups,
            model,
            output,
            types=panel_types,
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


def _number_of_parts(text: str, types: Path | None) -> int | None:
    if text == "auto":
        return None
    if types is not None:
        raise UsageError("--types decides the number of parts; leave --parts out")
    if (number := options.whole_number(text)) and number > 1:
        return number
    raise UsageError(f"--parts takes a number from 2 on, or auto, not {text[:80]!r}")


def _say_results(results: "Sequence[Refinement]") -> None:
    """A line about each cluster, or the clusters of one population."""
    for result in results:
        several = len(result.retired) > 1
        name = f"cluster{'s' if several else ''} {', '.join(map(str, result.retired))}"
        learned = f" (learned from {result.n_learned:,})" if result.n_learned < result.n_cells else ""
        became = f"split into {_spelled(result)}" if result.parts else _not_split(result)
        console.say(f"{name}: {result.n_cells:,} cells{learned}, {became}")


def _not_split(result: "Refinement") -> str:
    named = f" (all of it {result.names[0]})" if result.names else ""
    return f"no split found{named}, unchanged"


def _spelled(result: "Refinement") -> str:
    """The numbers of the parts, with their populations if a marker table has named them."""
    if not result.names:
        return ", ".join(map(str, result.parts))
    return ", ".join(f"{number} ({name})" for number, name in zip(result.parts, result.names, strict=True))
