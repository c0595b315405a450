"""Which device the network runs on."""

import torch

from cytovae.errors import DeviceError


def resolve_device(asked: str) -> str:
    """``auto`` becomes the GPU if there is one, else the CPU. Raises :class:`DeviceError` for one that is missing."""
    if asked == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError as error:
        raise DeviceError(f"there is no device {asked!r}; use auto, cpu, cuda, cuda:N or mps") from error
    missing = (
        (device.type == "cuda" and (not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()))
        or (device.type == "mps" and not torch.backends.mps.is_available())
        or device.type not in ("cpu", "cuda", "mps")
    )
    if missing:
        raise DeviceError(
            f"device {asked} was asked for, but this machine has "
            f"{torch.cuda.device_count()} CUDA devices. Use --device auto or cpu, or install torch for your GPU."
        )
    return asked


CHUNK = 8_192  # cells in the network at once: more do not fit a processor's cache


BLOCK = 32_768  # cells decoded at once: fewer leave each expert too few for one product


GPU_CHUNK = 1_048_576  # on a GPU both


def use_threads(n_threads: int, *, with_umap: bool = False) -> None:
    """How many threads torch uses for one operation from now on, and with ``with_umap`` numba, too."""
    if with_umap:
        # The first parallel function that UMAP runs starts numba's threads, and that sets torch's number anew: they
        # are started here, before.
        import numba

        most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
        numba.set_num_threads(min(n_threads, most))
    torch.set_num_threads(n_threads)
