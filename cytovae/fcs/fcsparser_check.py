"""A second reading of TEXT by the fcsparser package, which confirms this package's own reading."""

import warnings
from collections.abc import Mapping
from io import BytesIO

from cytovae.fcs.keywords import PADDING, quoted, whole_number


def confirmed_keywords(
    header: bytes, raw: bytes, encoding: str, keywords: Mapping[str, str]
) -> tuple[dict[str, str], str]:
    """Read TEXT with fcsparser and compare with ``keywords``.

    Parameters
    ----------
    header, raw
        The bytes of HEADER and of primary TEXT.
    encoding
        The encoding of TEXT.
    keywords
        This package's own reading. Its sizes must already be checked, because fcsparser allocates by $PAR.

    Returns
    -------
    keywords, note
        The values as fcsparser reads them and an empty note if the two readings agree. Otherwise the given
        keywords and a sentence that says why: fcsparser rejects padded or lower-case names, empty values and files
        without $NEXTDATA.
    """
    from fcsparser.api import FCSParser  # imports pandas, which takes half a second

    own = dict(keywords)
    # Places TEXT directly after HEADER, so that neither DATA nor an earlier data set in front of TEXT is copied.
    compact = header[:10] + f"{len(header):>8}{len(header) + len(raw) - 1:>8}".encode() + header[26:42] + b" " * 16
    parser = FCSParser(encoding=encoding)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a missing last delimiter is already among the notes
            parser.load_file(BytesIO(compact + raw), read_data=False)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        return (
            own,
            f"fcsparser cannot read TEXT ({type(error).__name__}: {error}); cytovae's own parser was used.",
        )
    confirmed: dict[str, str] = {}
    for name, value in parser.annotation.items():
        if name == "__header__":
            continue
        name = name.strip(PADDING).upper()
        own_value = own.get(name)
        if name and not _same(own_value, value):
            return own, f"fcsparser reads {quoted(name)} differently; cytovae's own parser was used."
        if own_value is not None:
            # fcsparser turns a few values into integers; the text keeps their digits.
            confirmed[name] = own_value if isinstance(value, int) else value
    return own | confirmed, ""


def _same(own: str | None, other: str | int) -> bool:
    if own is None:
        return False
    return whole_number(own) == other if isinstance(other, int) else own.strip(PADDING) == other.strip(PADDING)
