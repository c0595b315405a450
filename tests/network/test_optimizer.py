"""Adam and the one-cycle schedule, compared with those of torch."""

import subprocess
import sys

import pytest
import torch

from cytovae.network.optimizer import BETAS, Adam, one_cycle


def parameters() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in ((3, 4), (4,), ())]


def descend(values: list[torch.Tensor], step: int) -> None:
    """Gradients of a loss that changes with the step; the last parameter has a gradient only at every third."""
    first, second, third = values
    loss = ((first @ second - step % 5) ** 2).sum()
    if step % 3 == 0:
        loss = loss + (third - 1) ** 2
    torch.autograd.backward(loss)


@pytest.mark.parametrize("steps", [20, 25, 1000])
def test_one_cycle_equals_that_of_torch(steps: int) -> None:
    theirs = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(theirs, 5e-3, total_steps=steps, pct_start=0.1, cycle_momentum=False)
    for step in range(1, steps + 1):
        assert one_cycle(step, steps, 5e-3) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12, abs=0)
        theirs.step()
        if step < steps:
            schedule.step()


def test_adam_equals_that_of_torch() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Adam(ours)
    reference = torch.optim.Adam(theirs, betas=BETAS, fused=True)
    for step in range(40):
        rate = 0.1 / (1 + step)
        optimizer.zero_grad()
        descend(ours, step)
        optimizer.step(rate)
        reference.zero_grad()
        reference.param_groups[0]["lr"] = rate
        descend(theirs, step)
        reference.step()
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a, b)


def test_adam_continues_from_its_state() -> None:
    continuous, resumed = parameters(), parameters()
    for values, stops in ((continuous, False), (resumed, True)):
        optimizer = Adam(values)
        for step in range(20):
            if stops and step == 10:
                saved = {name: tensor.clone() for name, tensor in optimizer.state().items()}
                optimizer = Adam(values)
                optimizer.load(saved)
            optimizer.zero_grad()
            descend(values, step)
            optimizer.step(0.1)
    for a, b in zip(continuous, resumed, strict=True):
        assert torch.equal(a, b)


def test_a_state_of_other_parameters_is_refused() -> None:
    with pytest.raises(KeyError):
        Adam(parameters()).load(Adam(parameters()[:2]).state())


@pytest.mark.slow
def test_training_does_not_import_torchs_compiler() -> None:
    code = """
import sys, numpy as np, torch
from cytovae.settings import Settings
from cytovae.populations.similarity import make_similarity
from cytovae.network.training_loop import build_network, train
settings = Settings(experts=4, steps=25, batch=32, similarity="radius")
x = torch.rand(64, 3)
similar = make_similarity(np.random.default_rng(0).random((64, 2), np.float32), settings, seed=0)
list(train(build_network(3, settings, 0), x, similar, None, settings, 0))
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "False", done.stderr
