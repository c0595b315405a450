"""The ablation of digits at a small size, on ten bars of ink that are easy to tell apart."""

import json
import struct
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from typer.testing import CliRunner

from cytovae.cli.main import app
from cytovae.errors import UsageError
from cytovae.experiments import ablation
from cytovae.experiments.digits import digit_ablation
from cytovae.experiments.digits.digit_ablation import NO_NETWORK, NO_SIMILARITY, REQUESTED, VARIANTS, WHOLE, Design
from cytovae.experiments.digits.on_request import expert_source
from cytovae.experiments.digits.recipe import OUR_SETTINGS
from cytovae.network.training_loop import build_network

ONE_DECODER = "one decoder, as many weights as all experts"
BLOCKS = "of blocks of pixels, Canberra"


def bars(folder: Path) -> None:
    """Write five hundred images of bars: five positions, horizontal and vertical, of two lengths."""
    rng = np.random.default_rng(0)
    labels = np.arange(500) % 10
    images = np.zeros((500, 28, 28))
    for row, digit in enumerate(labels):
        at = 4 + digit // 2 * 4
        bar = np.zeros((28, 28))
        bar[at : at + 3, 4 : 14 if digit < 5 else 24] = 255
        images[row] = np.clip((bar.T if digit % 2 else bar) * rng.uniform(0.7, 1) + rng.normal(0, 8, (28, 28)), 0, 255)
    for stem, own in (("train", slice(400)), ("t10k", slice(400, None))):
        for kind, values in (("images-idx3", images[own]), ("labels-idx1", labels[own])):
            head = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
            (folder / f"{stem}-{kind}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


def test_every_variant_but_the_first_changes_something() -> None:
    assert VARIANTS[0].settings(OUR_SETTINGS.steps) == OUR_SETTINGS
    others = {
        (each.settings(10), each.features, each.clustering, each.augmented, each.network): each.name
        for each in VARIANTS
    }
    assert len(others) == len({each.name for each in VARIANTS}) == len(VARIANTS)


def test_a_single_decoder_is_as_large_as_all_experts() -> None:
    """Counted without output biases: each expert has one of its own, the single decoder has one in all."""
    variant = next(each for each in VARIANTS if each.name == ONE_DECODER)
    weights = []
    for settings in (variant.settings(10), OUR_SETTINGS):
        decoder = build_network(784, settings, 0).decoder
        weights.append(sum(part.numel() for part in (decoder.weight, decoder.bias, decoder.weight_out)))
    assert weights[0] == weights[1]


def test_a_single_decoder_generates_images_of_every_cluster() -> None:
    """The Gaussian of a cluster has the mean of the codes of its images."""
    variant = next(each for each in VARIANTS if each.name == ONE_DECODER)
    network = build_network(784, variant.settings(10), 0).eval()
    x = torch.rand(400, 784, generator=torch.Generator().manual_seed(0))
    source = expert_source(network, x, np.arange(400) % 10, 0)
    assert source.means.shape == (10, OUR_SETTINGS.code)
    with torch.inference_mode():
        means = network.encoder(x)[0][3::10].mean(0)
        images = source.decode(source.draw(3, 5, torch.Generator().manual_seed(1)), 3)
    # Five standard errors of forty draws from posteriors whose standard deviation starts near 1.
    assert float((source.means[3] - means).abs().max()) < 5 * 1.5 / 40**0.5
    assert images.shape == (5, 784)


@pytest.mark.slow
def test_the_command_writes_a_row_for_every_variant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bars(tmp_path)
    names = (WHOLE, NO_SIMILARITY, ONE_DECODER, BLOCKS, NO_NETWORK)
    chosen = tuple(each for each in VARIANTS if each.name in names)
    monkeypatch.setattr(digit_ablation, "QUICK", Design(500, 60, 10, 20, chosen))
    folder = tmp_path / "out"
    done = CliRunner().invoke(
        app,
        [
            *("benchmark", "paper", "ablation", "--mnist", str(tmp_path), "--quick", "--seeds", "1"),
            *("-o", str(folder), "--threads", "1", "--device", "cpu"),
        ],
    )
    assert done.exit_code == 0, done.output
    for name in names:
        assert f"| {name} |" in done.stdout
    lines = pq.read_table(folder / "results.parquet").to_pylist()
    found = {
        (line["method"], line["measure"]): line["value"] for line in lines if line["part"] == digit_ablation.ABLATION
    }
    assert found[NO_NETWORK, "accuracy"] > found[NO_SIMILARITY, "accuracy"]  # only S says what belongs together
    assert found[WHOLE, "accuracy"] > found[NO_SIMILARITY, "accuracy"]
    assert {name for name, measure in found if measure == REQUESTED} == {WHOLE, NO_SIMILARITY, ONE_DECODER, BLOCKS}
    apart = {line["method"] for line in lines if line["part"] == ablation.SEPARATION}
    assert apart == {WHOLE, NO_SIMILARITY}
    assert {path.name for path in folder.glob("*.png")} == {"a4_MNIST.png"}
    assert len(json.loads((folder / "run.json").read_text())["pieces"]) == len(names)


def test_a_data_folder_is_required(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["benchmark", "paper", "ablation", "-o", str(tmp_path / "o")])
    assert isinstance(done.exception, UsageError)
    assert "--data" in str(done.exception)
