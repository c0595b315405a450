"""Model and cells to clusters and probabilities, chunk by chunk."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cytovae.cells import Assignment
from cytovae.errors import UsageError
from cytovae.inference.novelty import NoveltyMeter
from cytovae.inference.trained_model import TrainedModel
from cytovae.network.device import BLOCK, CHUNK, GPU_CHUNK


class Assigner:
    """A model made ready to assign chunk after chunk on one device."""

    def __init__(self, model: TrainedModel, device: str = "cpu") -> None:
        self.markers = model.markers
        self.device = torch.device(device)
        self.network = model.network.to(self.device).eval()
        self.low = torch.from_numpy(model.scaling.low).to(self.device)
        self.width = torch.from_numpy(model.scaling.high - model.scaling.low).to(self.device)
        cluster = torch.from_numpy(model.expert_clusters.astype(np.int64) - 1)
        experts = torch.zeros(len(cluster), model.n_clusters)
        self.experts_of_cluster = experts.scatter_(1, cluster[:, None], 1.0).to(self.device)  # (k, n_clusters)
        self.novelty = None if model.novelty is None else NoveltyMeter(model.novelty, self.device)

    def assign(self, values: NDArray[np.float32]) -> Assignment:
        """Clusters and probabilities of transformed values (n, m), in their order.

        A cluster's probability is the sum of its experts'. The posterior's mean is used, so the answer is the same
        every time. Raises :class:`UsageError` where the number of markers differs from the model's.
        """
        if values.ndim != 2 or values.shape[1] != len(self.markers):
            raise UsageError(f"values of shape {values.shape} do not fit the model's {len(self.markers)} markers")
        block = BLOCK if self.device.type == "cpu" else GPU_CHUNK
        parts = [self._block(values[start : start + block]) for start in range(0, len(values), block)]
        if not parts:
            none = np.zeros(0, np.float32)
            p = np.zeros((0, self.experts_of_cluster.shape[1]), np.float32)
            return Assignment(np.zeros(0, np.int32), p, None if self.novelty is None else none)
        p = _joined([part[0] for part in parts])
        novelty = None if self.novelty is None else _joined([part[1] for part in parts])
        return Assignment(p.argmax(1).astype(np.int32) + 1, p, novelty)

    def _block(self, values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (n, n_clusters) and novelty (n,), the latter 0 where it is not known."""
        chunk = CHUNK if self.device.type == "cpu" else GPU_CHUNK
        with torch.inference_mode():
            scaled = (torch.tensor(values, dtype=torch.float32, device=self.device) - self.low) / self.width  # (n, m)
            parts = [self._part(part) for part in torch.split(scaled.clamp(0, 1), chunk)]
            p, *about = (torch.cat(each) for each in zip(*parts, strict=True))
            novelty = p.new_zeros(len(p))
            if self.novelty is not None:
                code, expert = about
                novelty = self.novelty.of(self.network, code, expert, scaled)
            return p.cpu().numpy(), novelty.cpu().numpy()

    def _part(self, x: Tensor) -> tuple[Tensor, ...]:
        """Probabilities (b, n_clusters) of scaled cells ``x`` (b, m), and for novelty their code (b, d) and most likely
        expert (b,).
        """
        code, _ = self.network.encoder(x)  # (b, d); the posterior's mean
        of_experts = torch.softmax(self.network.clustering(code), 1)  # (b, k)
        p = of_experts @ self.experts_of_cluster  # (b, n_clusters)
        p = p / p.sum(1, keepdim=True)
        return (p,) if self.novelty is None else (p, code, of_experts.max(1).indices)


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def assign(model: TrainedModel, values: NDArray[np.float32], device: str = "cpu") -> Assignment:
    """Clusters and probabilities of transformed ``values`` (n, m); see :meth:`Assigner.assign`."""
    return Assigner(model, device).assign(values)


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
