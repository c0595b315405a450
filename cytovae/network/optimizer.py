"""Adam and the one-cycle schedule of the learning rate.

The arithmetic is that of torch, from its functional form. The optimizers of torch import its compiler, which takes a
second and a half at each start, and its schedules have a state that would have to be saved.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.99)
EPSILON = 1e-8

# The one-cycle schedule (Smith and Topin 2019), with the numbers of torch: the learning rate rises from peak / 25 to
# the peak in the first tenth of the steps, then falls to a ten-thousandth of where it started.
WARMUP_SHARE = 0.1
START_DIVISOR = 25.0
FINAL_FACTOR = 1e-4


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of ``step``, 1 … ``steps``, along two halves of a cosine. There must be 20 steps or more."""
    top = WARMUP_SHARE * steps - 1  # counted from 0
    position = step - 1
    first, last = peak / START_DIVISOR, peak / START_DIVISOR * FINAL_FACTOR
    if position <= top:
        return _cosine(first, peak, position / top)
    return _cosine(peak, last, (position - top) / (steps - 1 - top))


def _cosine(start: float, end: float, share: float) -> float:
    """The value at ``share`` (0 … 1) of the way from ``start`` to ``end``."""
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


class Adam:
    """Adam (Kingma and Ba 2015). Changes ``parameters`` in place."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = list(parameters)
        self._mean = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._square = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self._parameters]

    def zero_grad(self) -> None:
        """Remove all gradients; needed before each backward pass, which adds to them."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """Update all parameters that have a gradient."""
        parameters, gradients, means, squares, steps = [], [], [], [], []
        for index, parameter in enumerate(self._parameters):
            if parameter.grad is not None:
                parameters.append(parameter)
                gradients.append(parameter.grad)
                means.append(self._mean[index])
                squares.append(self._square[index])
                steps.append(self._steps[index])
        adam(
            parameters,
            gradients,
            means,
            squares,
            [],
            steps,
            fused=True,
            amsgrad=False,
            beta1=BETAS[0],
            beta2=BETAS[1],
            lr=learning_rate,
            weight_decay=0.0,
            eps=EPSILON,
            maximize=False,
        )

    def state(self) -> dict[str, Tensor]:
        """All tensors that decide the next step, by name (not copies)."""
        kinds = {"step": self._steps, "exp_avg": self._mean, "exp_avg_sq": self._square}
        return {f"{index}.{kind}": tensor for kind, tensors in kinds.items() for index, tensor in enumerate(tensors)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from ``state``. Raises KeyError or RuntimeError if it belongs to other parameters."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
