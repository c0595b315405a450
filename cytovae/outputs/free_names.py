"""Names that do not collide with others that are taken. Opens no files."""

from collections.abc import Sequence


def free_name(name: str, taken: Sequence[str]) -> str:
    """``name``, with _2, _3, … appended if it is among ``taken`` (upper and lower case are the same)."""
    return f"{name}{free_ending([name], taken)}"


def free_ending(names: Sequence[str], taken: Sequence[str]) -> str:
    """The first of "", "_2", "_3", … that keeps all ``names`` apart from those in ``taken``."""
    known = {other.casefold() for other in taken}
    number, ending = 1, ""
    while known & {f"{name}{ending}".casefold() for name in names}:
        number += 1
        ending = f"_{number}"
    return ending
