"""Images and labels in IDX files, the format of MNIST: big-endian sizes, then one byte a pixel or label."""

import gzip
import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import InputError

UNSIGNED_BYTES = 8  # the code of the only type that MNIST's files hold


_GZIP = b"\x1f\x8b"


_STEMS = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))


@dataclass(frozen=True, eq=False)
class Images:
    """``pixels`` uint8 (n, side * side), row by row; ``labels`` uint8 (n,), 0 … 9; the first ``n_train`` are those of
    the training files.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    n_train: int


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The array in an IDX file of unsigned bytes, gzipped or not.

    Raises :class:`InputError` naming what is wrong with the header or the length.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "file", str(error), "an IDX file, whole or gzipped", "Download it again.") from error
    magic = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if content[:4] != magic:
        raise InputError(
            path, "magic number", content[:4].hex(" ") or "an empty file", f"{magic.hex(' ')} (IDX, unsigned bytes)"
        )
    begin = 4 + 4 * dimensions
    if len(content) < begin:
        raise InputError(path, "header", f"{len(content)} bytes", f"{begin} bytes", "The file is cut off.")
    shape = struct.unpack(f">{dimensions}I", content[4:begin])
    if len(content) - begin != prod(shape):
        raise InputError(
            path,
            "length",
            f"{len(content) - begin} bytes of data",
            f"{prod(shape)} ({' x '.join(map(str, shape))})",
            "The file is cut off, or not what its header says.",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=begin).reshape(shape)


def read_images(folder: Path) -> Images:
    """All images of MNIST's four files in ``folder`` (``train-images-idx3-ubyte``, …, with or without ``.gz``).

    Raises :class:`InputError` for a missing or damaged file, and where images and labels do not fit.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for images_stem, labels_stem in _STEMS:
        images_path, labels_path = _found(folder, images_stem, 3), _found(folder, labels_stem, 1)
        images, digits = read_idx(images_path, 3), read_idx(labels_path, 1)
        if len(images) != len(digits):
            raise InputError(labels_path, "labels", f"{len(digits)}", f"{len(images)}, as many as images")
        if images.shape[1] != images.shape[2] or not len(images):
            raise InputError(images_path, "images", " x ".join(map(str, images.shape)), "square images, at least one")
        if len(digits) and digits.max() > 9:
            raise InputError(labels_path, "labels", f"a {digits.max()}", "digits 0 … 9")
        if pixels and images[0].size != pixels[0].shape[1]:
            raise InputError(
                images_path, "images", f"{images[0].size} pixels", f"{pixels[0].shape[1]}, as for training"
            )
        pixels.append(images.reshape(len(images), -1))
        labels.append(digits)
    return Images(np.concatenate(pixels), np.concatenate(labels), len(pixels[0]))


def _found(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{mark}idx{dimensions}-ubyte{ending}" for ending in ("", ".gz") for mark in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(folder, f"{stem} of MNIST", "no such file", " or ".join(names[::2]))
