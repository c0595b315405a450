"""Known labels of cells, to learn from: one spelling for each population."""

from dataclasses import dataclass, replace

import numpy as np

from cytovae.annotations.cluster_names import UNKNOWN
from cytovae.cells import UNGATED, GateLabels, folded_name
from cytovae.errors import InputError

FEWEST_POPULATIONS = 2
FEW_CELLS = 5  # a population with fewer cells gets a warning


@dataclass(frozen=True, eq=False)
class KnownLabels:
    """Labels to learn from.

    Attributes
    ----------
    labels : GateLabels
        The population of each cell; −1 = not labelled. Every population has a cell.
    warnings : tuple of str
        What was changed, and what is uncertain.
    """

    labels: GateLabels
    warnings: tuple[str, ...] = ()


def known_labels(labels: GateLabels, source: str) -> KnownLabels:
    """Join spellings of a population, and check that there are labels to learn from.

    Names that differ only in case and white space are one population, with the spelling that most cells have.
    "unknown" means not labelled.

    Parameters
    ----------
    labels
        Labels as read.
    source
        Where they come from, for messages.

    Raises
    ------
    InputError
        If fewer than two populations are labelled.

    Examples
    --------
    >>> import numpy as np
    >>> known = known_labels(GateLabels(np.array([0, 1, 1, 2, -1], dtype=np.int32), ("b", "B ", "T")), "labels.csv")
    >>> known.labels.names, known.labels.population.tolist()
    (('B', 'T'), [0, 0, 0, 1, -1])
    """
    count = np.bincount(labels.population[labels.population >= 0], minlength=len(labels.names))
    spellings: dict[str, list[int]] = {}
    for index, name in enumerate(labels.names):
        if count[index]:
            spellings.setdefault(folded_name(name), []).append(index)
    unknown = spellings.pop(UNKNOWN, [])
    warnings = [f"{source}: {UNKNOWN!r} means not labelled"] if unknown else []
    names: list[str] = []
    new = np.full(len(labels.names) + 1, UNGATED, dtype=np.int32)  # the last entry is for cells without a label
    for same in spellings.values():
        name = " ".join(labels.names[max(same, key=lambda index: (count[index], -index))].split())
        new[same] = len(names)
        names.append(name)
        if len(same) > 1:
            each = " and ".join(repr(labels.names[index]) for index in same)
            warnings.append(f"{source}: {each} are taken for one population, {name!r}")
        cells = int(count[same].sum())
        if cells < FEW_CELLS:
            warnings.append(f"{source}: {name!r} has {cells} labelled cells; {FEW_CELLS} or more are better")
    if len(names) < FEWEST_POPULATIONS:
        found = f"one population, {names[0]!r}" if names else "no labels"
        hint = "To tell a population from all other cells, label some of the others, too."
        raise InputError(source, "labels", found, f"labels of at least {FEWEST_POPULATIONS} populations", hint)
    return KnownLabels(replace(labels, population=new[labels.population], names=tuple(names)), tuple(warnings))
