"""Reading of IDX files, the format of MNIST: big-endian sizes, then one byte for each pixel or label."""

import gzip
import struct
import zlib
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cytovae.errors import InputError

UNSIGNED_BYTES = 8  # the type code in MNIST's files

_GZIP_MAGIC = b"\x1f\x8b"
_STEMS = (("train-images", "train-labels"), ("t10k-images", "t10k-labels"))


@dataclass(frozen=True, eq=False)
class Images:
    """Square images: ``pixels`` uint8 (n, side * side), ``labels`` uint8 (n,) from 0 to 9.

    The first ``n_train`` images are those of the training files.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    n_train: int


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """Read the array in an IDX file of unsigned bytes, gzipped or not.

    Raises :class:`InputError` if the file, its header or its length is wrong.
    """
    try:
        content = path.read_bytes()
        if content[:2] == _GZIP_MAGIC:
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(path, "file", str(error), "an IDX file, whole or gzipped", "Download it again.") from error
    magic = bytes([0, 0, UNSIGNED_BYTES, dimensions])
    if content[:4] != magic:
        raise InputError(
            path, "magic number", content[:4].hex(" ") or "an empty file", f"{magic.hex(' ')} (IDX, unsigned bytes)"
        )
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise InputError(path, "header", f"{len(content)} bytes", f"{start} bytes", "The file is truncated.")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != prod(shape):
        raise InputError(
            path,
            "length",
            f"{len(content) - start} bytes of data",
            f"{prod(shape)} ({' x '.join(map(str, shape))})",
            "The file is truncated, or its header is wrong.",
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def read_images(folder: Path) -> Images:
    """Read MNIST's four files in ``folder`` (``train-images-idx3-ubyte``, …, with or without ``.gz``).

    Raises :class:`InputError` if a file is missing or damaged, or if images and labels do not match.
    """
    pixels: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.uint8]] = []
    for images_stem, labels_stem in _STEMS:
        images_path, labels_path = _find(folder, images_stem, 3), _find(folder, labels_stem, 1)
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


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    names = [f"{stem}{mark}idx{dimensions}-ubyte{ending}" for ending in ("", ".gz") for mark in "-."]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(folder, f"{stem} of MNIST", "no such file", " or ".join(names[::2]))
