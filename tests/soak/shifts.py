"""Length-changing edits of TEXT that leave the offsets as they were, so that DATA may be read from another byte."""

import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rows import Effort, Row

from cytovae.errors import FcsError
from cytovae.fcs.file import open_fcs

TYPES = {"F": "f4", "D": "f8", "I16": "u2", "I32": "u4"}
VERSIONS = ("FCS2.0", "FCS3.0", "FCS3.1", "FCS3.2")
EDITS_PER_FILE = 10
OUTCOMES = (
    "refused by two signs",
    "refused otherwise",
    "with unchanged values, warned",
    "with unchanged values, silently",
    "with moved DATA, warned",
    "with moved DATA, silently",
)


@dataclass(frozen=True)
class Sound:
    """A sound file: its bytes, the segments of TEXT and DATA, and its values."""

    raw: bytes
    text: tuple[int, int]
    values: NDArray[np.float64]
    kind: str


def sound_file(rng: random.Random) -> Sound:
    """A sound file of a random layout with values like those of an instrument."""
    kind, version = rng.choice(list(TYPES)), rng.choice(VERSIONS)
    order, delimiter = rng.choice("<>"), rng.choice("/|\\!\x0c")
    n_channels, n_events = rng.randint(2, 8), rng.randint(12, 60)
    chance = np.random.default_rng(rng.getrandbits(32))
    limit = {"I16": rng.choice((1024, 65536)), "I32": rng.choice((262144, 2**32))}.get(kind, 262144)
    values = chance.gamma(2.0, limit / 8, (n_events, n_channels)).clip(0, limit - 1)
    if kind in ("F", "D") and rng.random() < 0.5:  # ion counts: small, and often 0
        values = chance.gamma(0.7, 20.0, (n_events, n_channels)) * (chance.random((n_events, n_channels)) < 0.7)
    stored = values.astype(order + TYPES[kind])
    data = stored.tobytes()
    gap = bytes([rng.choice(b" \x00")]) * rng.choice((0, 0, rng.randint(1, 16), rng.randint(1, 4096)))
    tail = rng.choice((b"", b"00000000", f"{rng.randrange(65536):08d}".encode()))
    bits = 8 * stored.dtype.itemsize
    bytes_in_order = [str(n + 1) for n in range(bits // 8)]
    words = {"$BEGINANALYSIS": "0", "$ENDANALYSIS": "0", "$BEGINSTEXT": "0", "$ENDSTEXT": "0", "$NEXTDATA": "0"}
    words |= {"$MODE": "L", "$DATATYPE": kind[0], "$PAR": str(n_channels), "$TOT": str(n_events)}
    words["$BYTEORD"] = ",".join(bytes_in_order if order == "<" else bytes_in_order[::-1])
    for number in range(1, n_channels + 1):
        words |= {f"$P{number}B": str(bits), f"$P{number}E": "0,0", f"$P{number}R": str(limit)}
        words |= {f"$P{number}N": f"CH{number}-A", f"$P{number}S": f"CD{rng.randint(1, 300)}"}
    words |= {"$CYT": "built by hand", "$FIL": "sample one.fcs", "NOTE": "stained on Monday " * rng.randint(5, 60)}
    digits = rng.choice((6, 20))
    in_text = version != "FCS2.0" or rng.random() < 0.5
    in_header = not in_text or rng.random() < 0.7
    names = list(words)
    rng.shuffle(names)
    first = last = 0
    for _ in range(2):  # offsets have a fixed width, so this converges
        pairs = [(name, words[name]) for name in names]
        if in_text:
            pairs[:0] = [("$BEGINDATA", f"{first:0{digits}d}"), ("$ENDDATA", f"{last:0{digits}d}")]
        text = (delimiter + "".join(f"{name}{delimiter}{value}{delimiter}" for name, value in pairs)).encode()
        first = 58 + len(text) + len(gap)
        last = first + len(data) - 1
    numbers = [58, 57 + len(text), *((first, last) if in_header else (0, 0)), 0, 0]
    header = (version + " " * 4 + "".join(f"{number:>8}" for number in numbers)).encode()
    return Sound(header + text + gap + data + tail, (58, 58 + len(text)), stored.astype(float), kind)


def edited(sound: Sound, rng: random.Random) -> bytes:
    """The file after 1 to 8 bytes of TEXT are deleted or inserted."""
    n_bytes = rng.randint(1, 8)
    at = rng.randrange(sound.text[0] + 1, sound.text[1] - 9)
    if rng.random() < 0.5:
        return sound.raw[:at] + sound.raw[at + n_bytes :]
    return sound.raw[:at] + bytes(rng.choices(b"ABCxyz0123 -_", k=n_bytes)) + sound.raw[at:]


def outcome(path: Path, sound: Sound, raw: bytes) -> tuple[str, bool]:
    """What happens to an edited file (one of OUTCOMES), and whether it is read in spite of two signs."""
    path.write_bytes(raw)
    try:
        file = open_fcs(path)
        values = file.read()
    except FcsError as error:
        return ("refused by two signs" if "TEXT was probably edited" in error.hint else "refused otherwise"), False
    n_signs = sum("check that values are right" in note for note in file.notes)
    same = values.shape == sound.values.shape and np.array_equal(values, sound.values)
    what = "with unchanged values" if same else "with moved DATA"
    return f"{what}, {'warned' if n_signs else 'silently'}", n_signs > 1


def try_edits(folder: Path, count: int, seed: int) -> tuple[dict[str, Counter[str]], list[str]]:
    """Try ``count`` edits. Returns the outcomes by type of values, and a line for each failure."""
    rng = random.Random(f"shifts {seed}")
    outcomes = {kind: Counter[str]() for kind in TYPES}
    failures = []
    path = folder / "edited.fcs"
    for number in range(count):
        if number % EDITS_PER_FILE == 0:
            sound = sound_file(rng)
            path.write_bytes(sound.raw)
            file = open_fcs(path)
            if not np.array_equal(file.read(), sound.values) or any("check that" in note for note in file.notes):
                failures.append(
                    f"edit {number}: {sound.kind}: the sound file is not read without a warning: {file.notes}"
                )
        raw = edited(sound, rng)
        what, two_signs = outcome(path, sound, raw)
        outcomes[sound.kind][what] += 1
        if two_signs or what == "with moved DATA, silently":
            failures.append(f"edit {number}: {sound.kind}: {what}" + (" in spite of two signs" if two_signs else ""))
    return outcomes, failures


def shifts(folder: Path, effort: Effort) -> list[Row]:
    """Edit TEXT without new offsets: one row for each type of values."""
    outcomes, failures = try_edits(folder, effort.count(100_000, 500), effort.seed)
    return [
        Row(
            f"FCS: 1 to 8 bytes of TEXT deleted or inserted, offsets left as they were: {kind}",
            counted.total(),
            ", ".join(f"{counted[what]:,} {what}" for what in OUTCOMES),
            tuple(failure for failure in failures if f" {kind}: " in failure),
        )
        for kind, counted in outcomes.items()
    ]
