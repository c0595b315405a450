"""Adam and the one-cycle schedule, as functions of the step.

torch's own optimizers import its compiler as soon as one is made, and their schedules keep a state: a second and a
half of every run that nothing here has a use for. The arithmetic is torch's, from its functional form.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor
from torch.optim.adam import adam

BETAS = (0.9, 0.99)


EPSILON = 1e-8


# One cycle: the rate rises for this share of the steps, from the peak over RISE to the peak, and falls to FALL of its
# first value (Smith and Topin 2019; the numbers are torch's).
RISING = 0.1


RISE = 25.0


FALL = 1e-4


def one_cycle(step: int, steps: int, peak: float) -> float:
    """The learning rate of ``step``, 1 … ``steps`` (of which there must be some 20), two halves of a cosine."""
    top = RISING * steps - 1  # counted from 0
    at = step - 1
    first, last = peak / RISE, peak / RISE * FALL
    if at <= top:
        return _between(first, peak, at / top)
    return _between(peak, last, (at - top) / (steps - 1 - top))


def _between(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


class Adam:
    """Adam (Kingma and Ba 2015) for ``parameters``, which are changed in place."""

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._parameters = list(parameters)
        self._mean = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._square = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros((), device=parameter.device) for parameter in self._parameters]

    def forget_gradients(self) -> None:
        """To be called before each backward pass, which adds to what is there."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self, learning_rate: float) -> None:
        """One step down the gradients; parameters that took no part in the loss stay."""
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
        """The tensors that decide the next step, by name; not copies."""
        kinds = {"step": self._steps, "exp_avg": self._mean, "exp_avg_sq": self._square}
        return {f"{index}.{kind}": tensor for kind, tensors in kinds.items() for index, tensor in enumerate(tensors)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from ``state``. Raises KeyError or RuntimeError where it is not that of such parameters."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])
