"""Model and cells to latent codes: where the encoder puts a cell, from the mean of its posterior."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from cytovae.assignment import Assigner

_CHUNK = 8_192  # cells in the encoder at once


def latent_codes(assigner: "Assigner", values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Codes (n, d) of transformed values (n, m), in their order: the posterior's mean, so the same every time."""
    codes = np.empty((len(values), assigner.network.encoder.mean.out_features), dtype=np.float32)
    for start in range(0, len(values), _CHUNK):
        x = assigner.low.new_tensor(values[start : start + _CHUNK])
        x = ((x - assigner.low) / assigner.width).clamp(0, 1)  # (b, m), as when assigning
        mean, _ = assigner.network.encoder(x)  # (b, d)
        codes[start : start + len(x)] = mean.detach().cpu().numpy()
    return codes
