"""A refined model to its folder: a copy of the model that was refined, and a folder for each part."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cytovae.atomic import whole_folder
from cytovae.cells import CellTable
from cytovae.inference.trained_model import Learning, SavedModel
from cytovae.model_folder.json_fields import read_json
from cytovae.model_folder.layout import (
    CHECKSUMMED,
    DESCRIPTION,
    PARTS,
    REFINED_SCHEMA_VERSION,
    RUN,
    STARTED_IN,
    RunRecord,
    member_path,
    part_folder,
)
from cytovae.model_folder.load import load_model
from cytovae.model_folder.save import check_model_target, save_model, write_json
from cytovae.plain_file import resolved, sha256_of


@dataclass(frozen=True, eq=False)
class LearnedPart:
    """What was learned inside clusters, and how.

    Attributes
    ----------
    retired : tuple of int
        The numbers of these clusters in the model as it is when its earlier parts are added.
    saved : SavedModel
        The model of their cells.
    learning, cells, run
        What training returned, the cells that it learned from, and the record of it.
    """

    retired: tuple[int, ...]
    saved: SavedModel
    learning: Learning
    cells: CellTable
    run: RunRecord


def save_refined(path: Path, source: Path, parts: Sequence[LearnedPart], *, force: bool = False) -> SavedModel:
    """Write the refined model of the model in folder ``source``; without parts, an equal model.

    Parameters
    ----------
    path : Path
        The model folder to write. It appears whole or not at all.
    source : Path
        The folder of the model that was refined, which stays as it is. It may be a refined model.
    parts : sequence of LearnedPart
        What to add to it, in that order.
    force : bool
        Replace an earlier model, once the new one is complete.

    Returns
    -------
    SavedModel
        The model as it was written.

    Raises
    ------
    OutputError
        If the folder exists or cannot be written, see :func:`cytovae.model_folder.save.check_model_target`.
    """
    check_model_target(path, force=force)
    description = dict(read_json(member_path(source, DESCRIPTION)).content)
    run = dict(read_json(member_path(source, RUN)).content)
    described = list(description.get(PARTS, []))
    with whole_folder(path) as partial:
        for name in CHECKSUMMED:
            if (source / name).exists():  # some models of version 0.1.0 have no tables
                shutil.copyfile(member_path(source, name), partial / name)
        for number in range(1, len(described) + 1):
            shutil.copytree(source / part_folder(number), partial / part_folder(number))
        for part in parts:
            described.append({"retired": list(part.retired)})
            folder = partial / part_folder(len(described))
            save_model(folder, part.saved, part.learning, part.cells, part.run)
        if parts:
            refined = {**description, "schema_version": REFINED_SCHEMA_VERSION, PARTS: described}
            write_json(partial / DESCRIPTION, refined)
            run["key"] = ""  # so that no training takes it for its own complete model
        names = [name for name in CHECKSUMMED if (partial / name).exists()]
        names += [f"{part_folder(number)}/{RUN}" for number in range(1, len(described) + 1)]
        run["sha256"] = {name: sha256_of(partial / name) for name in names}
        if started_in := run.get(STARTED_IN):
            run[STARTED_IN] = _seen_from(path, source / started_in)
        write_json(partial / RUN, run)
        return load_model(partial)


def _seen_from(model: Path, folder: Path) -> str:
    """``folder`` as seen from a model's folder; "" if there is no way."""
    try:
        return Path(os.path.relpath(resolved(folder), resolved(model))).as_posix()
    except (OSError, ValueError):  # on another drive
        return ""
