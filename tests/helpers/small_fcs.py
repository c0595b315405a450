"""Small FCS files, built byte by byte, and a strict reader that shares no code with the package."""

import random
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Recipe:
    """A small file, built byte by byte."""

    version: str = "FCS3.0"
    datatype: str = "F"
    byteord: str = "4,3,2,1"
    bits: tuple[int, ...] = (32, 32, 32)
    ranges: tuple[str, ...] = ("1024", "1024", "262144")
    amplification: tuple[str, ...] = ("0,0", "0,0", "0,0")
    n_events: int = 5
    delimiter: str = "/"
    text_offsets: bool = True
    tail: bytes = b""
    header_offsets: bool = True

    def data(self) -> bytes:
        order = ">" if self.byteord[0] != "1" else "<"
        values = random.Random(len(self.bits) * self.n_events)
        out = b""
        for _ in range(self.n_events):
            for bits, limit in zip(self.bits, self.ranges, strict=True):
                if self.datatype == "I":
                    value = values.randrange(min(1 << bits, int(limit)))
                    out += value.to_bytes(bits // 8, "big" if order == ">" else "little")
                else:
                    out += struct.pack(order + {"F": "f", "D": "d"}[self.datatype], values.uniform(-10, 1000))
        return out

    def keywords(self) -> dict[str, str]:
        words = {"$BEGINDATA": "", "$ENDDATA": ""} if self.text_offsets else {}
        words |= {"$BEGINSTEXT": "0", "$ENDSTEXT": "0", "$NEXTDATA": "0", "$MODE": "L"}
        words |= {"$BYTEORD": self.byteord, "$DATATYPE": self.datatype, "$CYT": "built by hand"}
        words |= {"$PAR": str(len(self.bits)), "$TOT": str(self.n_events)}
        for number, bits in enumerate(self.bits, start=1):
            words[f"$P{number}B"] = str(bits)
            words[f"$P{number}E"] = self.amplification[number - 1]
            words[f"$P{number}N"] = f"CH{number}-A"
            words[f"$P{number}R"] = self.ranges[number - 1]
            words[f"$P{number}S"] = f"CD{number}"
        return words

    def build(self, changed: dict[str, str | None] | None = None, header: dict[int, int] | None = None) -> bytes:
        """The bytes of the file, with replaced keywords (None removes one) and replaced numbers of HEADER."""
        data, words = self.data(), self.keywords() | (changed or {})
        text_first, gap = 64, 6
        first = last = 0
        for _ in range(3):  # offsets have a fixed width, so this converges
            if self.text_offsets and not {"$BEGINDATA", "$ENDDATA"} & set(changed or {}):
                words |= {"$BEGINDATA": f"{first:06d}", "$ENDDATA": f"{last:06d}"}
            d = self.delimiter
            text = (d + "".join(f"{k}{d}{v}{d}" for k, v in words.items() if v is not None)).encode()
            first = text_first + len(text) + gap
            last = first + len(data) - 1
        numbers = [text_first, text_first + len(text) - 1, first, last, 0, 0]
        if not self.header_offsets:
            numbers[2:4] = [0, 0]
        numbers = [(header or {}).get(position, number) for position, number in enumerate(numbers)]
        head = (self.version + " " * 4 + "".join(f"{number:>8}" for number in numbers)).encode()
        return head.ljust(text_first) + text + b" " * gap + data + self.tail


LAYOUTS = {
    "float, 3.0": Recipe(),
    "double, 3.1": Recipe("FCS3.1", "D", "1,2,3,4", (64, 64), ("1024", "1024"), ("0,0", "0,0"), delimiter="|"),
    "16 bits, 2.0": Recipe(
        "FCS2.0", "I", "2,1", (16, 16, 16), ("1024", "1024", "65536"), ("0,0", "4,1", "0,0"), text_offsets=False
    ),
    "24 bits, 3.0": Recipe("FCS3.0", "I", "1,2,3,4", (24, 24), ("16777216", "4096"), ("0,0", "0,0"), delimiter="\\"),
    "32 bits, 3.1": Recipe("FCS3.1", "I", "4,3,2,1", (32, 32), ("4294967296", "262144"), ("0,0", "5,0"), delimiter="!"),
    "mixed widths, 3.2": Recipe(
        "FCS3.2", "I", "1,2,3,4", (8, 16, 24, 64), ("256", "1000", "16777216", "1048576"), ("0,0",) * 4,
        header_offsets=False, delimiter="\x0c",
    ),
}  # fmt: skip
FLOAT, INTEGER = LAYOUTS["float, 3.0"], LAYOUTS["32 bits, 3.1"]


class NotSound(Exception):
    """The strict reader rejects the file."""


def strict_values(raw: bytes) -> NDArray[np.float64]:
    """The values of a file that follows the standard exactly. Raises NotSound for any other file."""
    try:
        return _strict(raw)
    except (ValueError, KeyError, IndexError, OverflowError, ZeroDivisionError, struct.error) as error:
        raise NotSound(repr(error)) from error


def _demand(condition: bool, what: str) -> None:
    if not condition:
        raise NotSound(what)


def _digits(value: str) -> int:
    _demand(value.strip().isdecimal() and value.isascii(), value)
    return int(value)


def _strict(raw: bytes) -> NDArray[np.float64]:
    _demand(raw[:6] in (b"FCS2.0", b"FCS3.0", b"FCS3.1", b"FCS3.2"), "version")
    places = [_digits(raw[at : at + 8].decode("ascii")) for at in range(10, 58, 8)]
    _demand(58 <= places[0] < places[1] < len(raw), "TEXT")
    text = raw[places[0] : places[1] + 1].decode("utf-8")
    _demand(text[0] == text[-1] and text[0] * 2 not in text, "delimiter")
    parts = text[1:-1].split(text[0])
    _demand(len(parts) % 2 == 0 and all(parts), "pairs")
    names = [name.upper() for name in parts[::2]]
    _demand(len(set(names)) == len(names), "twice")
    words = dict(zip(names, parts[1::2], strict=True))
    segments = [(places[2], places[3])] if places[2] else []
    if "$BEGINDATA" in words or "$ENDDATA" in words:
        segments.append((_digits(words["$BEGINDATA"]), _digits(words["$ENDDATA"])))
    _demand(len(set(segments)) == 1, "places")
    first, last = segments[0]
    n_channels, n_events = _digits(words["$PAR"]), _digits(words["$TOT"])
    bits = [_digits(words[f"$P{n}B"]) for n in range(1, n_channels + 1)]
    _demand(last - first + 1 == n_events * sum(bits) // 8 and first > places[1] and last < len(raw), "size")
    _demand(words.get("$MODE", "L").upper() == "L", "mode")
    orders: dict[str, Literal["little", "big"]] = {"1,2,3,4": "little", "1,2": "little", "4,3,2,1": "big", "2,1": "big"}
    order = orders[words["$BYTEORD"]]
    at, rows = first, []
    for _ in range(n_events):
        row = []
        for number, width in enumerate(bits, start=1):
            chunk = raw[at : at + width // 8]
            at += width // 8
            kind = words["$DATATYPE"].upper()
            if kind == "I":
                limit = _digits(words[f"$P{number}R"])
                value = int.from_bytes(chunk, order) & ((1 << (limit - 1).bit_length()) - 1)
                decades, zero = (float(part) for part in words.get(f"$P{number}E", "0,0").split(","))
                row.append(10 ** (decades * value / limit) * (zero or 1) if decades else float(value))
            else:
                letter = {("F", 32): "f", ("D", 64): "d"}[kind, width]
                row.append(struct.unpack((">" if order == "big" else "<") + letter, chunk)[0])
        rows.append(row)
    return np.array(rows, float).reshape(n_events, n_channels)


def same_values(values: NDArray[np.float64], expected: NDArray[np.float64]) -> bool:
    return values.shape == expected.shape and np.allclose(values, expected, rtol=1e-12, atol=0, equal_nan=True)
