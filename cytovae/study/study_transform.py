"""The panel and the transform of a study, where the user leaves the transform or the cofactor to the program."""

from collections.abc import Callable, Sequence
from typing import Literal

from cytovae.events.event_file import EventFile, file_names
from cytovae.events.panel import Panel, columns_in_study
from cytovae.events.transform import Logicle, Transform, TransformKind
from cytovae.events.value_scale import DEFAULT_COFACTOR, TransformChoice, choose_transform, file_scale

TransformOption = Literal["auto", "arcsinh", "logicle", "none"]
"""What a user may ask for. "auto" chooses arcsinh or none."""

OwnCofactors = Literal["none", "some", "all"]
"""How many of the markers have a cofactor of their own, from a panel table."""


def panel_and_transform(
    files: Sequence[EventFile],
    resolve: Callable[[float], Panel],
    option: TransformOption = "auto",
    cofactor: float | None = None,
    *,
    logicle: Logicle | None = None,
    own_cofactors: OwnCofactors = "none",
) -> tuple[Panel, Transform, TransformChoice | None]:
    """Choose what the user leaves open.

    A cofactor alone means arcsinh, as do cofactors in a panel table, which take precedence.

    Parameters
    ----------
    files
        The files, compensated if they will be.
    resolve
        Gives the panel for a cofactor, which applies to markers without a cofactor of their own.
    option, cofactor
        What the user asks for; None leaves the cofactor open.
    logicle
        Parameters of "logicle".
    own_cofactors
        How many markers have a cofactor of their own.

    Returns
    -------
    The panel, the transform, and how the program chose it; None if the user left nothing open.

    Raises
    ------
    UsageError
        If the files disagree.
    """
    kind: TransformKind = "arcsinh" if option == "auto" else option
    panel = resolve(DEFAULT_COFACTOR if cofactor is None else cofactor)
    choice = None
    if kind == "arcsinh" and cofactor is None and own_cofactors != "all":
        choice = transform_of_files(files, panel)
        if option == "auto" and own_cofactors == "none":
            kind = choice.kind
        if choice.cofactor != DEFAULT_COFACTOR:
            panel = resolve(choice.cofactor)
    return panel, Transform(kind, panel.cofactors, logicle or Logicle()), choice


def transform_of_files(files: Sequence[EventFile], panel: Panel) -> TransformChoice:
    """The transform that suits all files; see :func:`cytovae.events.value_scale.choose_transform`."""
    scales = [file_scale(file, columns_in_study(panel, file).tolist()) for file in files]
    return choose_transform(list(zip(file_names(files), scales, strict=True)))
