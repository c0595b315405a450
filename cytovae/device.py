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
