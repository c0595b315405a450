"""The device of the network, its number of threads, and how many cells it takes at once."""

import os

import torch

from cytovae.errors import DeviceError, UsageError

# Cells at once on a CPU. The encoder takes what fits the processor's cache. The decoder takes more, because it
# multiplies the cells of each expert separately and small products are slow.
ENCODER_CHUNK = 8_192
DECODER_CHUNK = 32_768

GPU_CHUNK = 1_048_576
"""Cells at once on a GPU, for both."""


def encoder_chunk(device: torch.device) -> int:
    """How many cells to encode at once."""
    return ENCODER_CHUNK if device.type == "cpu" else GPU_CHUNK


def decoder_chunk(device: torch.device) -> int:
    """How many cells to decode at once."""
    return DECODER_CHUNK if device.type == "cpu" else GPU_CHUNK


def resolve_device(requested: str) -> str:
    """The device to use: ``auto`` becomes a GPU if there is one, else the CPU.

    Raises :class:`DeviceError` if this machine does not have the requested device.
    """
    if requested == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(requested)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {requested!r}; use auto, cpu, cuda, cuda:N or mps") from error
    missing = (
        (device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()))
        or (device.type == "mps" and not torch.backends.mps.is_available())
        or device.type not in ("cpu", "cuda", "mps")
    )
    if missing:
        raise DeviceError(
            f"device {requested} is not available; this machine has {torch.cuda.device_count()} CUDA devices. "
            "Use --device auto or cpu, or install torch for your GPU."
        )
    return requested


def use_threads(n_threads: int, *, with_umap: bool = False) -> None:
    """Set the number of threads of torch, and with ``with_umap`` also of numba."""
    if with_umap:
        # Numba starts its threads at UMAP's first parallel function, which changes torch's number of threads. So they
        # are started here, before torch's number is set.
        found = os.environ.get("NUMBA_NUM_THREADS", "1")
        if not found.isdecimal() or set(found) == {"0"}:
            raise UsageError(f"the environment has NUMBA_NUM_THREADS={found}, expected a number from 1 on; unset it")
        import numba

        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(n_threads, most))
    torch.set_num_threads(n_threads)
