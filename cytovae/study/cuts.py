"""The cuts of a model's tree that one assignment has: what `assign --clusters 8,20,auto` asks for."""

from dataclasses import dataclass

from cytovae.errors import UsageError
from cytovae.outputs.columns import CLUSTER, cut_column

_AUTO = "auto"
_MOST_DIGITS = 9


@dataclass(frozen=True)
class Cuts:
    """One main cut and any further ones. Probabilities and populations belong to the main cut.

    Attributes
    ----------
    main : int or None
        Number of clusters of the main cut; None for that of the model as it was trained.
    further : tuple of int
        Numbers of clusters of the further cuts.
    column : str
        The column of the main cut in outputs.
    """

    main: int | None = None
    further: tuple[int, ...] = ()
    column: str = CLUSTER


AS_TRAINED = Cuts()


def parse_cuts(text: str) -> Cuts:
    """Parse one number of clusters, or several with commas between; ``auto`` stands for the model as it was trained.

    A number alone is the main cut, in the column ``cluster``. In a list, that is ``auto``; every number is in a column
    of its own, and the first is the main cut if there is no ``auto``.

    Raises
    ------
    UsageError
        If an entry is neither ``auto`` nor a number from 1 on, or is there twice.

    Examples
    --------
    >>> parse_cuts("8,20,auto")
    Cuts(main=None, further=(8, 20), column='cluster')
    >>> parse_cuts("8,20")
    Cuts(main=8, further=(20,), column='cluster_8')
    """
    numbers = [_number(entry.strip()) for entry in text.split(",")]
    twice = next((number for place, number in enumerate(numbers) if number in numbers[:place]), 0)
    if twice != 0:
        raise UsageError(f"--clusters names {_AUTO if twice is None else twice} twice; leave one out")
    if len(numbers) == 1:
        return Cuts(numbers[0])
    named = tuple(number for number in numbers if number is not None)
    if None in numbers:
        return Cuts(None, named)
    return Cuts(named[0], named[1:], cut_column(named[0]))


def _number(entry: str) -> int | None:
    """The number that ``entry`` is; None for auto."""
    if entry == _AUTO:
        return None
    is_number = entry.isascii() and entry.isdecimal() and len(entry) <= _MOST_DIGITS
    if not is_number or int(entry) < 1:
        raise UsageError(
            f"--clusters takes numbers from 1 on, or auto, with commas between (8,20,auto), not {entry[:80]!r}"
        )
    return int(entry)
