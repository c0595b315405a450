"""The network: compared with plain loops and with printed parameter counts, and which parts must not be connected."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cytovae.network.model import ClusteringNetwork, Experts, MoeSimVae
from cytovae.network.training_loop import build_network
from cytovae.settings import preset

MARKERS, EXPERTS, CODE, WIDTH = 4, 5, 3, 6


def network(seed: int = 0, dropout: float = 0.5, activation: str = "relu") -> MoeSimVae:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = MoeSimVae(
            markers=MARKERS,
            experts=EXPERTS,
            code=CODE,
            encoder_depth=2,
            encoder_width=8,
            clustering_depth=2,
            clustering_width=7,
            expert_width=WIDTH,
            activation=activation,
            dropout=dropout,
        )
        # With the usual small weights all cells would go to one expert. Batch norm needs to see cells.
        for parameter in model.clustering.parameters():
            torch.nn.init.normal_(parameter, std=1.0 if parameter.ndim == 2 else 0.01)
        for _ in range(30):
            model(cells(64))
        return model


def cells(b: int, seed: int = 1) -> Tensor:
    return torch.rand(b, MARKERS, generator=torch.Generator().manual_seed(seed))


def codes(b: int, seed: int = 2) -> Tensor:
    return torch.randn(b, CODE, generator=torch.Generator().manual_seed(seed))


def decoded_in_loops(decoder: Experts, z: Tensor, activation: str) -> np.ndarray:
    """Logits (b, k, m) of every cell by every expert, number by number in double precision."""
    first = decoder.weight.detach().double().view(EXPERTS, CODE, WIDTH).numpy()
    first_bias = decoder.bias.detach().double().numpy()
    second = decoder.weight_out.detach().double().view(EXPERTS, WIDTH, MARKERS).numpy()
    second_bias = decoder.bias_out.detach().double().numpy()
    values = z.double().numpy()
    logits = np.zeros((len(values), EXPERTS, MARKERS))
    for i, code in enumerate(values):
        for k in range(EXPERTS):
            hidden = []
            for j in range(WIDTH):
                total = first_bias[k, j] + sum(code[d] * first[k, d, j] for d in range(CODE))
                hidden.append(max(total, 0.0) if activation == "relu" else total if total > 0 else np.expm1(total))
            for marker in range(MARKERS):
                logits[i, k, marker] = second_bias[k, marker] + sum(
                    hidden[j] * second[k, j, marker] for j in range(WIDTH)
                )
    return logits


# --- experts ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_experts_equal_a_loop_over_cells_and_experts(activation: str) -> None:
    decoder = network(activation=activation).decoder
    torch.nn.init.normal_(decoder.bias_out, generator=torch.Generator().manual_seed(3))
    z, expert = codes(40), torch.arange(40) % EXPERTS
    expected = decoded_in_loops(decoder, z, activation)[np.arange(40), expert.numpy()]
    np.testing.assert_allclose(decoder(z, expert).detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_experts_computed_one_by_one_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients, up to rounding; one expert has no cells."""

    def logits_and_gradients() -> list[Tensor]:
        decoder = network(activation="elu").decoder
        z = codes(40).requires_grad_()
        logits = decoder(z, torch.arange(40) * 7 % (EXPERTS - 1))
        torch.autograd.backward(logits.square().sum())
        gradients = [parameter.grad for parameter in (z, *decoder.parameters())]
        return [logits.detach(), *(each for each in gradients if each is not None)]

    gathered = logits_and_gradients()
    monkeypatch.setattr("cytovae.network.model.LARGEST_GATHERED_EXPERT", 0)
    one_by_one = logits_and_gradients()
    assert len(gathered) == 6
    for a, b in zip(gathered, one_by_one, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_a_cell_is_reconstructed_by_the_most_likely_expert() -> None:
    model = network().eval()
    out = model(cells(60))
    expert = out.probabilities.argmax(1).numpy()
    assert len(np.unique(expert)) > 1  # otherwise the gate is not tested
    expected = decoded_in_loops(model.decoder, out.code.detach(), "relu")[np.arange(60), expert]
    np.testing.assert_allclose(out.logits.detach().numpy(), expected, rtol=1e-5, atol=1e-6)


def test_the_gate_is_hard() -> None:
    """A change of the other experts does not change a cell's reconstruction by a bit."""
    model = network().eval()
    with torch.inference_mode():
        before = model(cells(60))
        mine = int(before.probabilities.argmax(1)[0])
        others = torch.arange(EXPERTS) != mine
        for parameter in model.decoder.parameters():
            assert len(parameter) == EXPERTS  # one row for each expert
            parameter[others] += 100.0
        after = model(cells(60))
    to_mine = before.probabilities.argmax(1) == mine
    assert torch.equal(after.logits[to_mine], before.logits[to_mine])
    assert not torch.equal(after.logits[~to_mine], before.logits[~to_mine])


@pytest.mark.parametrize("activation", ["relu", "elu"])
def test_a_single_decoder_equals_identical_experts(activation: str) -> None:
    single = Experts(1, CODE, WIDTH, MARKERS, activation)
    torch.nn.init.normal_(single.bias_out, generator=torch.Generator().manual_seed(3))
    identical = Experts(EXPERTS, CODE, WIDTH, MARKERS, activation)
    with torch.no_grad():
        for parameter, one in zip(identical.parameters(), single.parameters(), strict=True):
            parameter.copy_(one.expand_as(parameter))
    z, expert = codes(20), torch.arange(20) % EXPERTS
    torch.testing.assert_close(single(z, expert), identical(z, expert), rtol=1e-5, atol=1e-6)


def test_only_the_experts_of_the_batch_have_gradients() -> None:
    decoder = network().decoder
    logits = decoder(codes(10), torch.tensor([1, 3] * 5))
    torch.autograd.backward(functional.mse_loss(logits, torch.ones(10, MARKERS)))
    for parameter in decoder.parameters():
        assert parameter.grad is not None
        rows = parameter.grad.flatten(1).abs().sum(1)
        assert (rows[[0, 2, 4]] == 0).all()
        assert (rows[[1, 3]] > 0).all()


def test_reconstruction_has_gradients_for_encoder_and_experts_but_not_the_clustering_network() -> None:
    model = network()
    out = model(cells(32))
    torch.autograd.backward(functional.binary_cross_entropy_with_logits(out.logits, cells(32)))
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.clustering.parameters())
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.encoder.mean.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.decoder.parameters())


def test_similarity_has_gradients_for_encoder_and_clustering_network_but_not_the_experts() -> None:
    model = network()
    out = model(cells(32))
    torch.autograd.backward((out.probabilities @ out.probabilities.T).mean())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in model.decoder.parameters())
    for layer in (model.clustering.out, model.encoder.mean):
        assert layer.weight.grad is not None
        assert layer.weight.grad.any()


# --- encoder ----------------------------------------------------------------------------------------------------------


def test_batch_norm_learns_its_statistics() -> None:
    """With the same cells in every pass, it converges to their mean and unbiased variance."""
    model = network().train()
    x = cells(64)
    with torch.no_grad():
        for _ in range(200):
            model(x)
        layer, norm = list(model.encoder.hidden)[:2]
        assert isinstance(layer, torch.nn.Linear)
        assert isinstance(norm, torch.nn.BatchNorm1d)
        before_norm = layer(x).numpy()
    # The share of the initial values is 0.9 to the power of 200, below 1e-9.
    assert norm.running_mean is not None
    assert norm.running_var is not None
    np.testing.assert_allclose(norm.running_mean.numpy(), before_norm.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), before_norm.var(0, ddof=1), rtol=1e-4, atol=1e-6)


def test_the_code_is_the_posterior_mean_without_noise_and_a_sample_with_it() -> None:
    model = network().eval()
    x, noise = cells(9), codes(9)
    with torch.inference_mode():
        mean, log_variance = model.encoder(x)
        assert torch.equal(model(x).code, mean)
        expected = mean.double() + noise.double() * torch.sqrt(torch.exp(log_variance.double()))
        torch.testing.assert_close(model(x, noise).code.double(), expected, rtol=1e-5, atol=1e-6)


# --- clustering network -----------------------------------------------------------------------------------------------


def test_probabilities_are_the_softmax_of_the_clustering_network() -> None:
    model = network().eval()
    with torch.inference_mode():
        out = model(cells(20))
        h = out.code.double().numpy()
        for layer in model.clustering.hidden:
            assert isinstance(layer, torch.nn.Linear)
            h = np.maximum(h @ layer.weight.double().numpy().T + layer.bias.double().numpy(), 0)
        last = model.clustering.out
        logits = h @ last.weight.double().numpy().T + last.bias.double().numpy()
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(out.probabilities.numpy(), expected, rtol=1e-5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_noisy_branch_differs_from_the_clean_one_and_sums_to_one() -> None:
    out = network(dropout=0.5)(cells(20), dropout=generator())
    noisy = out.noisy_log_probabilities.exp()
    torch.testing.assert_close(noisy.sum(1), torch.ones(20))
    assert (noisy - out.probabilities).abs().max() > 1e-3


def test_without_dropout_both_branches_agree() -> None:
    out = network(dropout=0.0)(cells(20), dropout=generator())
    torch.testing.assert_close(out.noisy_log_probabilities.exp(), out.probabilities)


def test_each_pass_draws_new_dropout_and_does_not_change_the_clean_branch() -> None:
    model, dropout = network(dropout=0.5).eval(), generator()
    first, second = model(cells(20), dropout=dropout), model(cells(20), dropout=dropout)
    assert not torch.equal(first.noisy_log_probabilities, second.noisy_log_probabilities)
    assert torch.equal(first.probabilities, second.probabilities)
    assert torch.equal(first.logits, second.logits)
    assert torch.equal(model(cells(20), dropout=generator()).noisy_log_probabilities, first.noisy_log_probabilities)


@pytest.mark.parametrize("dropout", [0.1, 0.5])
def test_dropout_has_its_rate_and_keeps_the_mean(dropout: float) -> None:
    """The outputs of this network are its hidden units, each 1 without noise."""
    clustering = ClusteringNetwork(1, 100, 1, 100, "relu", dropout)
    with torch.no_grad():
        for parameter in clustering.parameters():
            parameter.zero_()
        clustering.out.weight.copy_(torch.eye(100))
        hidden = clustering.hidden[0]
        assert isinstance(hidden, torch.nn.Linear)
        hidden.bias.fill_(1)
        outputs = clustering(torch.zeros(500, 1), generator())
    np.testing.assert_allclose(np.unique(outputs.numpy()), [0, 1 / (1 - dropout)], rtol=1e-6)
    # 50,000 draws: five standard deviations of their mean are at most 5 · 0.5 / √50,000 = 0.011.
    assert (outputs == 0).double().mean().item() == pytest.approx(dropout, abs=0.0112)
    assert clustering(torch.zeros(3, 1)).unique().tolist() == [1]


# --- assignment -------------------------------------------------------------------------------------------------------


def test_assignment_is_reproducible_and_uses_the_posterior_mean() -> None:
    model = network().eval()
    with torch.inference_mode():
        p = model.assign(cells(50))
        assert torch.equal(p, model.assign(cells(50)))
        assert torch.equal(p, model(cells(50)).probabilities)


def test_assignment_of_a_cell_does_not_depend_on_the_other_cells() -> None:
    model = network().eval()
    with torch.inference_mode():
        together = model.assign(cells(50))
        alone = torch.cat([model.assign(cell[None]) for cell in cells(50)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


# --- sizes ------------------------------------------------------------------------------------------------------------


def parameters(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    # Clustering network: five layers 9 → 9 and one to the experts; experts: 9 → 48 → markers. The sum printed in A.1.3
    # also has an encoder of 100 hidden units with four heads, a number for each cell of a batch and expert, the mean,
    # variance and target of each expert, and two scalars.
    ("name", "markers", "printed"),
    [("paper-weber", 13, 37_563), ("paper-bodenmiller", 10, 22_228)],
)
def test_presets_have_the_printed_number_of_parameters(name: str, markers: int, printed: int) -> None:
    settings = preset(name)
    model = build_network(markers, settings, 0)
    experts = settings.experts
    heads = parameters(model.encoder.mean)
    assert parameters(model.encoder.log_variance) == heads
    encoder = parameters(model.encoder.hidden) - 2 * settings.encoder_width + 4 * heads  # without batch norm
    bookkeeping = settings.batch * experts + experts + 3 * settings.code * experts + 2
    assert encoder + parameters(model.clustering) + parameters(model.decoder) + bookkeeping == printed


def test_shapes_of_the_outputs() -> None:
    out = network()(cells(12), dropout=generator())
    assert out.probabilities.shape == out.noisy_log_probabilities.shape == (12, EXPERTS)
    assert out.code.shape == (12, CODE)
    assert out.logits.shape == (12, MARKERS)


def test_the_clustering_network_may_have_no_hidden_layer() -> None:
    model = build_network(MARKERS, preset("default"), 0)
    assert len(model.clustering.hidden) == 1
    with torch.random.fork_rng(devices=[]):
        shallow = MoeSimVae(
            markers=MARKERS,
            experts=EXPERTS,
            code=CODE,
            encoder_depth=1,
            encoder_width=8,
            clustering_depth=0,
            clustering_width=7,
            expert_width=WIDTH,
            activation="relu",
            dropout=0.0,
        )
    assert parameters(shallow.clustering) == CODE * EXPERTS + EXPERTS
