"""A batch shared among processes, as if it were whole: rows gathered with their gradients, batch norm and noise.

Tensors in, tensors out; who the processes are is known to :mod:`cytovae.distributed`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, distributed, nn


class _Gather(torch.autograd.Function):
    """Rows of all processes from the rows of each.

    Backwards: every process computes the losses of the whole batch, so each has the gradient of its own rows already;
    it counts ``world`` times because DistributedDataParallel averages over the processes what should be added up.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor, share: slice, batch: int, world: int) -> Tensor:
        ctx.share, ctx.world = share, world
        whole = rows.new_zeros(batch, rows.shape[1])
        whole[share] = rows
        distributed.all_reduce(whole)  # shares may differ by a row; adding zeros changes nothing
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None, None]:
        return gradients[0][ctx.share] * ctx.world, None, None, None


class _Sum(torch.autograd.Function):
    """The sum over all processes; backwards, too, since what each does with it depends on every one's part."""

    @staticmethod
    def forward(_ctx: Any, part: Tensor) -> Tensor:
        whole = part.clone()
        distributed.all_reduce(whole)
        return whole

    @staticmethod
    def backward(_ctx: Any, *gradients: Any) -> Tensor:
        whole: Tensor = gradients[0].clone()
        distributed.all_reduce(whole)
        return whole


gather: Callable[..., Tensor] = _Gather.apply
add_up: Callable[[Tensor], Tensor] = _Sum.apply


class WholeBatchNorm(nn.BatchNorm1d):
    """Batch normalisation by mean and variance of all processes' rows, ``batch`` of them.

    torch's own SyncBatchNorm does not run on the CPU.
    """

    batch: int

    def forward(self, x: Tensor) -> Tensor:
        """Rows (b, width) of this process, normalised."""
        if not self.training:
            return super().forward(x)
        mean = add_up(x.sum(0)) / self.batch  # (width,)
        centred = x - mean
        variance = add_up(centred.square().sum(0)) / self.batch
        with torch.no_grad():
            unbiased = variance * (self.batch / (self.batch - 1))
            for running, found in ((self.running_mean, mean), (self.running_var, unbiased)):
                if running is not None and self.momentum is not None:
                    running.lerp_(found, self.momentum)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked.add_(1)
        return centred * (variance + self.eps).rsqrt() * self.weight + self.bias


def whole_batch_norm(plain: nn.BatchNorm1d, batch: int) -> WholeBatchNorm:
    """The same layer, with the same parameters, over the whole batch."""
    whole = WholeBatchNorm(plain.num_features, plain.eps, plain.momentum)
    whole.batch = batch
    whole.weight, whole.bias = plain.weight, plain.bias
    whole.running_mean, whole.running_var = plain.running_mean, plain.running_var
    whole.num_batches_tracked = plain.num_batches_tracked
    return whole.train(plain.training)


class ShareOfUniform(nn.Module):
    """Uniform numbers for a share of the batch, drawn for the whole batch."""

    def __init__(self, share: slice, batch: int) -> None:
        super().__init__()
        self.share = share
        self.batch = batch

    def forward(self, h: Tensor, generator: torch.Generator) -> Tensor:
        """Numbers of the shape of ``h`` (share, width)."""
        return torch.rand(self.batch, h.shape[1], generator=generator, device=h.device)[self.share]
