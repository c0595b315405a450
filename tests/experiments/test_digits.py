"""Handwritten digits: IDX files, features of images, images on request, and the experiment at a small size."""

import gzip
import json
import math
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.spatial.distance import pdist
from sklearn.datasets import make_blobs
from torch import Tensor
from typer.testing import CliRunner

from cytovae.cli.main import app
from cytovae.errors import InputError
from cytovae.experiments.digits import mnist
from cytovae.experiments.digits.idx import read_idx, read_images
from cytovae.experiments.digits.images import augment, edge_features, edges, principal_components, upright
from cytovae.experiments.digits.on_request import MOST_RUNS, expert_source, request_images
from cytovae.experiments.digits.recipe import OUR_SETTINGS, digit_populations, digits_of_clusters
from cytovae.experiments.vade import SMALLEST_LOG_VARIANCE, Vade, VadeSettings, encoded, fit_vade
from cytovae.network.model import MoeSimVae
from cytovae.network.training_loop import build_network
from cytovae.settings import PRESETS

# --- IDX files --------------------------------------------------------------------------------------------------------


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_digits(folder: Path, images: np.ndarray, labels: np.ndarray, n_train: int, *, zipped: bool = True) -> None:
    """Write MNIST's four files; the first ``n_train`` images are for training."""
    for stem, own in (("train", slice(n_train)), ("t10k", slice(n_train, None))):
        for kind, values in (("images-idx3", images[own]), ("labels-idx1", labels[own])):
            content = idx(values.astype(np.uint8))
            path = folder / f"{stem}-{kind}-ubyte{'.gz' if zipped else ''}"
            path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)


@pytest.mark.parametrize("zipped", [False, True])
def test_an_idx_file_written_by_hand(tmp_path: Path, zipped: bool) -> None:
    content = bytes.fromhex("00000803 00000002 00000001 00000003 000102 0a0bff")
    path = tmp_path / "images"
    path.write_bytes(gzip.compress(content, mtime=0) if zipped else content)
    assert read_idx(path, 3).tolist() == [[[0, 1, 2]], [[10, 11, 255]]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "magic number: found an empty file"),
        (bytes.fromhex("00000801 00000001 07"), "found 00 00 08 01, expected 00 00 08 03"),
        (bytes.fromhex("00000d03 00000001 00000001 00000001 00000000"), "found 00 00 0d 03"),
        (bytes.fromhex("00000803 00000001"), "header: found 8 bytes, expected 16"),
        (bytes.fromhex("00000803 00000001 00000002 00000002 010203"), r"found 3 bytes of data, expected 4 \(1 x 2 x 2"),
        (bytes.fromhex("00000803 00000001 00000001 00000001 0102"), "found 2 bytes of data, expected 1"),
        (gzip.compress(bytes(100), mtime=0)[:-9], "an IDX file, whole or gzipped"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "images"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        read_idx(path, 3)
    assert caught.value.file == str(path)


def test_training_images_come_first(tmp_path: Path) -> None:
    images, labels = np.arange(20).reshape(5, 2, 2), np.array([3, 1, 4, 1, 5])
    write_digits(tmp_path, images, labels, 3)
    found = read_images(tmp_path)
    assert (found.pixels.tolist(), found.labels.tolist(), found.n_train) == (
        images.reshape(5, 4).tolist(),
        labels.tolist(),
        3,
    )


def test_images_and_labels_must_match(tmp_path: Path) -> None:
    write_digits(tmp_path, np.zeros((5, 2, 2)), np.zeros(5), 3, zipped=False)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(InputError, match="labels: found 2, expected 3"):
        read_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.array([0, 10, 2], np.uint8)))
    with pytest.raises(InputError, match="found a 10, expected digits"):
        read_images(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(InputError, match="train-labels of MNIST: found no such file"):
        read_images(tmp_path)


# --- images -----------------------------------------------------------------------------------------------------------


def stroke(slant: float, shift: float = 0.0, side: int = 28) -> Tensor:
    """An image (1, side, side) of a stroke in the middle that moves ``slant`` columns to the right with each row."""
    line = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(line, line, indexing="ij")
    return (torch.exp(-((x - shift - slant * y) ** 2) / 4) * (y.abs() < 9))[None]


def test_an_upright_image_has_no_slant_and_is_centred() -> None:
    """First moments are zero, rows and columns of ink are uncorrelated (up to the blur of half a pixel)."""
    image = upright(stroke(0.4, shift=3.0))[0]
    line = torch.arange(28) - 13.5
    ink = image.sum()
    x, y = (image * line).sum() / ink, (image * line[:, None]).sum() / ink
    slant = (image * (line - x) * (line[:, None] - y)).sum() / (image * (line[:, None] - y) ** 2).sum()
    assert max(abs(float(x)), abs(float(y))) < 0.1
    assert abs(float(slant)) < 0.02
    torch.testing.assert_close(upright(stroke(0.0)), stroke(0.0), atol=0.02, rtol=0)


def test_features_do_not_depend_on_the_slant() -> None:
    """Two vertical strokes of different slant are much closer than a vertical and a horizontal stroke."""
    vertical, slanted, flat = stroke(0.0), stroke(0.3), stroke(0.0).transpose(1, 2)
    a, b, c = edges(upright(torch.cat([vertical, slanted, flat])))
    assert float((a - b).norm()) < 0.2 * float((a - c).norm())
    assert float(a.norm()) == pytest.approx(1, abs=1e-5)


def test_features_of_empty_images_are_finite() -> None:
    assert np.isfinite(edge_features(np.zeros((3, 784), np.float32))).all()


def test_all_principal_components_preserve_distances() -> None:
    x = torch.rand(30, 5, generator=torch.Generator().manual_seed(0))
    y = principal_components(x, 5)
    np.testing.assert_allclose(pdist(y), pdist(x), rtol=1e-4)
    assert (np.diff(y.var(axis=0)) < 0).all()


def test_augmented_images_stay_close_to_the_original() -> None:
    """The amount of ink stays within 15 to 18 % (sizes vary by 6 %), and its centre moves by at most two pixels."""
    images = stroke(0.2).flatten(1).repeat(50, 1)
    seen = augment(images, torch.Generator().manual_seed(0))
    assert seen.shape == images.shape
    ratio = seen.sum(1) / images.sum(1)
    assert 0.85 < float(ratio.min()) < float(ratio.max()) < 1.18
    line = torch.arange(28) - 13.5
    middle = (seen.view(-1, 28, 28) * line).sum((1, 2)) / seen.sum(1)
    assert 0.5 < float(middle.abs().max()) < 2.0
    assert len(torch.unique(seen, dim=0)) == 50
    again = augment(images, torch.Generator().manual_seed(0))
    torch.testing.assert_close(seen, again, rtol=0, atol=0)


# --- populations ------------------------------------------------------------------------------------------------------


def test_a_small_population_joins_the_cluster_of_its_neighbours() -> None:
    """Three blobs, and a small one that is separate on the UMAP but near the third in the features."""
    plane, kind = make_blobs([900, 900, 900, 100], centers=[[0, 0], [20, 0], [0, 20], [20, 20]], random_state=0)
    value_of = np.array([[0, 0, 0], [50, 0, 0], [0, 50, 0], [0, 50, 8]])
    values = value_of[kind] + np.random.default_rng(0).normal(size=(len(kind), 3))
    found = digit_populations(values.astype(np.float32), plane.astype(np.float32), seed=0, clusters=3)
    truth = np.minimum(kind, 2)
    assert [len(np.unique(found[truth == value])) for value in range(3)] == [1, 1, 1]
    assert len(np.unique(found)) == 3


# --- images on request ------------------------------------------------------------------------------------------------


class Coin:
    """A source whose codes are accepted at random: a code is a uniform number, which is its own posterior."""

    def draw(self, cluster: int, n: int, generator: torch.Generator) -> Tensor:
        return torch.rand(n, 1, generator=generator)

    def posterior(self, codes: Tensor) -> Tensor:
        return codes.repeat(1, 2)

    def decode(self, codes: Tensor, cluster: int) -> Tensor:
        return torch.full((len(codes), 4), float(cluster))

    def assign(self, images: Tensor) -> Tensor:
        return torch.stack([1 - images[:, 0], images[:, 0]], 1)


def first_pixel(images: Tensor) -> Tensor:
    return torch.stack([0.5 - images[:, 0], images[:, 0] - 0.5], 1)


def test_runs_are_counted_up_to_the_last_one_needed() -> None:
    """The threshold 0 takes one run for each image, φ takes 1 / (1 − φ) on average (standard error 0.07 of 4 here)."""
    generator = torch.Generator().manual_seed(0)
    every = request_images(Coin(), 2, 1_000, 0.0, first_pixel, generator)  # type: ignore[arg-type]
    some = request_images(Coin(), 2, 1_000, 0.75, first_pixel, generator)  # type: ignore[arg-type]
    assert every is not None
    assert some is not None
    assert every.runs == 2_000
    assert some.runs / 2_000 == pytest.approx(4, abs=0.35)
    assert (some.by_model == np.arange(2)[:, None]).all()
    assert (some.by_classifier == np.arange(2)[:, None]).all()
    assert some.images.shape == (2, 1_000, 4)


def test_a_threshold_out_of_reach_gives_no_images() -> None:
    generator = torch.Generator().manual_seed(0)
    assert request_images(Coin(), 2, 3, 1.1, first_pixel, generator) is None  # type: ignore[arg-type]
    assert MOST_RUNS * 3 < 10_000


def small_network() -> MoeSimVae:
    settings = replace(PRESETS["paper-mnist"], experts=2, code=3, encoder_width=8, clustering_width=8, expert_width=4)
    return build_network(4, settings, 0).eval()


def test_the_gaussian_of_an_expert_matches_its_codes() -> None:
    """The covariance of drawn codes is the mean posterior variance plus the covariance of the posterior means."""
    network = small_network()
    x = torch.rand(20_000, 4, generator=torch.Generator().manual_seed(0))
    cluster = (x[:, 0] > 0.5).long().numpy()
    source = expert_source(network, x, cluster, seed=0)
    codes = source.draw(1, 50_000, torch.Generator().manual_seed(1))
    with torch.inference_mode():
        mean, log_variance = network.encoder(x[cluster == 1])
    expected = torch.cov(mean.T) + torch.diag(log_variance.exp().mean(0))
    torch.testing.assert_close(codes.mean(0), mean.mean(0), atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(codes.T), expected, atol=0.05, rtol=0.05)
    with torch.inference_mode():
        made = source.decode(codes[:5], 1)
        torch.testing.assert_close(made, network.decoder(codes[:5], torch.ones(5, dtype=torch.long)).sigmoid())


def test_an_expert_without_images_keeps_the_standard_gaussian() -> None:
    source = expert_source(small_network(), torch.rand(10, 4), np.zeros(10, np.int64), seed=0)
    assert not source.means[1].any()
    torch.testing.assert_close(source.factors[1], torch.eye(3))


# --- the single decoder -----------------------------------------------------------------------------------------------


def test_the_posterior_of_a_mixture_follows_bayes_rule() -> None:
    """Computed with scipy's normal densities."""
    from scipy.stats import norm

    model = Vade(4, VadeSettings(components=2, code=1, width=4))
    with torch.no_grad():
        model.shares.copy_(torch.tensor([math.log(0.2), math.log(0.8)]))
        model.means.copy_(torch.tensor([[-1.0], [2.0]]))
        model.log_variances.copy_(torch.tensor([[0.0], [math.log(4)]]))
    z = torch.tensor([[-2.0], [0.3], [5.0]])
    joint = np.stack([0.2 * norm.pdf(z[:, 0], -1, 1), 0.8 * norm.pdf(z[:, 0], 2, 2)], 1)
    np.testing.assert_allclose(model.posterior(z).detach(), joint / joint.sum(1, keepdims=True), atol=1e-6)
    drawn = model.draw(1, 20_000, torch.Generator().manual_seed(0))
    assert float(drawn.mean().detach()) == pytest.approx(2, abs=0.06)  # four standard errors
    assert float(drawn.std().detach()) == pytest.approx(2, abs=0.05)
    assert SMALLEST_LOG_VARIANCE < 0


def test_the_loss_with_one_component_is_that_of_a_plain_vae() -> None:
    """With a single standard Gaussian, the loss is reconstruction plus KL(q ‖ N(0, 1)), as torch computes it."""
    model = Vade(6, VadeSettings(components=1, code=2, width=4)).eval()
    x, noise = torch.rand(8, 6), torch.randn(8, 2)
    mean, log_variance = model.encode(x)
    posterior = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    kl = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
    logits = model.decoder(mean + noise * posterior.stddev)
    rebuilt = torch.nn.functional.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)
    torch.testing.assert_close(model.loss(x, noise), (rebuilt + kl).mean())


def test_vade_finds_well_separated_groups() -> None:
    x, kind = make_blobs(600, centers=np.eye(3, 12) * 0.8 + 0.1, cluster_std=0.05, random_state=0)
    settings = VadeSettings(components=3, code=2, width=32, batch=64, warm_steps=200, steps=100)
    model = fit_vade(torch.tensor(x.clip(0, 1), dtype=torch.float32), settings, 0)
    codes = torch.tensor(encoded(model, torch.tensor(x, dtype=torch.float32)))
    found = model.posterior(codes).argmax(1).numpy()
    counts = np.zeros((3, 3), int)
    np.add.at(counts, (kind, found), 1)
    assert counts.max(1).sum() > 590


# --- the whole experiment ---------------------------------------------------------------------------------------------


def test_clusters_are_matched_one_to_one_with_the_most_images() -> None:
    cluster, labels = np.repeat(np.arange(10), 10), np.repeat((np.arange(10) + 3) % 10, 10)
    labels[:2] = 5
    assert digits_of_clusters(cluster, labels).tolist() == [3, 4, 5, 6, 7, 8, 9, 0, 1, 2]


@pytest.mark.slow
def test_the_command_writes_tables_and_figures_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten bars of ink that are easy to tell apart, in five hundred images."""
    rng = np.random.default_rng(0)
    labels = np.arange(500) % 10
    images = np.zeros((500, 28, 28))
    for row, digit in enumerate(labels):
        across, at = digit % 2, 4 + digit // 2 * 4
        bar = np.zeros((28, 28))
        bar[at : at + 3, 4 : 14 if digit < 5 else 24] = 255
        images[row] = np.clip((bar.T if across else bar) * rng.uniform(0.7, 1) + rng.normal(0, 8, (28, 28)), 0, 255)
    write_digits(tmp_path, images, labels, 400)
    quick = replace(OUR_SETTINGS, steps=60, batch=64, encoder_width=64, umap_epochs=50)
    design = mnist.Design(
        ours=quick,
        paper=replace(PRESETS["paper-mnist"], steps=20, batch=64, encoder_width=64, umap_epochs=50),
        vade=VadeSettings(width=32, batch=64, warm_steps=30, steps=10),
        others=1,
        requests=10,
        classifier_epochs=20,
    )
    monkeypatch.setattr(mnist, "QUICK", design)
    folder = tmp_path / "out"
    arguments = [
        *("benchmark", "paper", "mnist", "--data", str(tmp_path), "--quick", "--seeds", "1", "-o", str(folder)),
        *("--threads", "1", "--device", "cpu"),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "| MoE-Sim-VAE (the paper) | 0.935 | 0.975 |" in result.output
    lines = pq.read_table(folder / "results.parquet").to_pylist()
    methods = {line["method"] for line in lines if line["part"] == mnist.TABLE}
    assert methods == {
        *(mnist.OURS, mnist.PIXELS, mnist.PAPER, mnist.VADE),
        *(mnist.EDGES_TREE, mnist.EDGES_GMM, mnist.PIXELS_GMM),
    }
    assert all(0 <= line["value"] <= 1 for line in lines if line["measure"] in ("accuracy", "NMI"))
    runs = [
        line["value"]
        for line in lines
        if (line["measure"], line["setting"], line["method"]) == ("runs", "0", mnist.OURS)
    ]
    assert runs == [1.0]
    pictures = {path.name for path in folder.glob("*.png")}
    assert pictures == {"figure2.png", "a2.png", "a5.png", "a6.png", "confusion.png", "vade.png"}
    record = json.loads((folder / "run.json").read_text())
    assert (record["experiment"], record["quick"], len(record["pieces"])) == ("mnist", True, 4)
    before = (folder / "results.parquet").read_bytes()
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert (folder / "results.parquet").read_bytes() == before


def test_missing_files_end_with_the_exit_code_of_bad_input(tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["benchmark", "paper", "mnist", "--data", str(tmp_path), "-o", str(tmp_path / "o")]
    )
    assert isinstance(result.exception, InputError)
    assert "train-images of MNIST" in str(result.exception)
    assert not (tmp_path / "o").exists()
