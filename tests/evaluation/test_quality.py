"""Quality of images: LPIPS with random weights, meshes on pictures with known grids."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torchmetrics
import torchvision
from torch import nn
from torchvision.models import AlexNet_Weights
from torchvision.transforms.functional import gaussian_blur

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.evaluation import lpips_distances, quality
from dfcvae.evaluation.quality import lpips_skipped, mesh_energy, plaid_energy, power_spectrum
from dfcvae.images import to_float

TAPS = (1, 4, 7, 9, 11)  # of torchvision's alexnet.features: the outputs of its five ReLUs
HEADS = Path(torchmetrics.__file__).parent / "functional/image/lpips_models/alex.pth"
SIZE = 64


@pytest.fixture
def features(offline, monkeypatch):
    """Random features of AlexNet, in a file where torchvision looks for ImageNet's, under its right name."""
    with torch.device("meta"):
        state = torchvision.models.alexnet().state_dict()
    state = {name: torch.zeros(1).expand(value.shape) for name, value in state.items()}  # a small file
    features = nn.Sequential(*torchvision.models.alexnet().features)
    state |= {f"features.{name}": value for name, value in features.state_dict().items()}
    offline.mkdir(parents=True)
    torch.save(state, offline / "alexnet.pth")
    name = f"alexnet-{hashlib.sha256((offline / 'alexnet.pth').read_bytes()).hexdigest()[:8]}.pth"
    (offline / "alexnet.pth").rename(offline / name)
    monkeypatch.setattr(AlexNet_Weights.DEFAULT.value, "url", f"https://example.org/{name}")
    return features


@torch.no_grad()
def by_hand(features, x_hat, x):
    heads = torch.load(HEADS, map_location="cpu")
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    a, b = (((2 * image - 1) - shift.view(3, 1, 1)) / scale.view(3, 1, 1) for image in (x_hat, x))
    distance = torch.zeros(len(x))
    for index, layer in enumerate(features[: TAPS[-1] + 1]):
        a, b = layer(a), layer(b)
        if index in TAPS:
            u, v = (nn.functional.normalize(y, dim=1) for y in (a, b))
            weight = heads[f"lin{TAPS.index(index)}.model.1.weight"]
            distance += ((u - v) ** 2 * weight).sum(dim=1).mean(dim=(1, 2))
    return distance


@torch.no_grad()
def test_alex_equals_the_formula_for_every_image(features, x):
    x_hat = (x + 0.3 * torch.randn_like(x)).clamp(0, 1)
    distance = lpips_distances()["alex"]
    wanted = by_hand(features, x_hat, x)
    torch.testing.assert_close(distance(x_hat, x), wanted)
    torch.testing.assert_close(distance(x_hat[2:3], x[2:3]), wanted[2:3])
    assert distance(x, x).tolist() == [0] * 4
    grey = x[:, :1, :32, :32]
    torch.testing.assert_close(
        distance(1 - grey, grey), by_hand(features, 1 - grey.expand(-1, 3, -1, -1), grey.expand(-1, 3, -1, -1))
    )


def test_weights_are_downloaded_only_where_asked_for_and_skipped_networks_are_told(features, offline, monkeypatch):
    (file,) = offline.iterdir()
    content = file.read_bytes()
    file.unlink()
    assert lpips_distances() == {}
    told = lpips_skipped({})
    assert told.startswith("LPIPS on alexnet and vgg16 was skipped: its ImageNet weights are not on this machine.")
    assert told.endswith(f"at {file} and {offline}/vgg16-397923af.pth.")
    assert "LPIPS on vgg16 was skipped" in lpips_skipped({"alex": torch.sub})
    assert lpips_skipped({"alex": torch.sub, "vgg": torch.sub}) == ""
    monkeypatch.setattr(quality, "perceptual", lambda _: nn.Identity())  # for vgg
    monkeypatch.setattr(torch.hub, "download_url_to_file", lambda url, target, progress: file.write_bytes(content))
    assert [*lpips_distances(download=True)] == ["alex", "vgg"]
    assert [*lpips_distances()] == ["alex"]


def test_a_failed_download_and_a_corrupted_file_are_sentences(offline):
    with pytest.raises(UserError, match=r"ImageNet weights of alexnet could not be downloaded from https") as error:
        lpips_distances(download=True)
    assert str(error.value).endswith(f"and copy it to {offline}.")
    (offline / "alexnet-owt-7be5be79.pth").write_bytes(b"cut short")
    with pytest.raises(UserError, match=r"is corrupted: expected a SHA-256 of 7be5be79\.\.\., got .*; delete it"):
        lpips_distances()


@pytest.fixture(scope="module")
def faces():
    return to_float(render_faces(range(64), size=SIZE)[0])


@pytest.fixture(scope="module")
def blurred(faces):
    return gaussian_blur(faces, [13, 13], [2.0, 2.0])


@pytest.fixture(scope="module")
def measures(faces):
    """Mesh and plaid of images against the faces."""
    original = power_spectrum(faces).mean(dim=0)

    def measures(images):
        power = power_spectrum(images).mean(dim=0)
        return mesh_energy(power, original), plaid_energy(power, original)

    return measures


def pattern(function):
    position = torch.arange(SIZE)
    return function(position[:, None], position[None, :]).float()


def dots(period):
    return pattern(lambda y, x: (y % period == 0) & (x % period == 0))


def test_spectrum_equals_a_sum_of_waves():
    image = torch.rand(1, 1, 32, 32)
    window = torch.hann_window(32)
    seen = (image - image.mean())[0, 0].double() * window[:, None] * window
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    for v, u in ((0, 4), (8, 12)):
        angle = 2 * torch.pi * (v * y + u * x) / 32
        power = (seen * angle.cos()).sum() ** 2 + (seen * angle.sin()).sum() ** 2
        assert power_spectrum(image)[0, 0, v, u].item() == pytest.approx(power.item(), rel=1e-3)
    with pytest.raises(UserError, match="a multiple of 8 and at least 32 pixels, got 24x24"):
        power_spectrum(torch.rand(1, 3, 24, 24))


def test_energies_equal_loops_over_frequencies():
    power, original = torch.rand(2, 3, 32, 32).double() + 0.5
    p, p_0 = power.numpy(), original.numpy()
    mesh, plaid = [], []
    for channel in range(3):
        at = lambda v, u, c=channel: p[c, v % 32, u % 32]  # noqa: E731
        for v in range(0, 32, 4):
            for u in range(0, 32, 4):
                ring = [at(v + a, u + b) for a in (-2, 0, 2) for b in (-2, 0, 2) if (a, b) != (0, 0)]
                surrounding = np.prod(ring) ** (1 / 8)
                if (v, u) != (0, 0):
                    mesh.append((at(v, u) - surrounding) / p_0[channel, v, u])
        for along in range(4, 17):
            for horizontal in (True, False):
                place = lambda aside, h=horizontal, a=along: (aside, a) if h else (a, aside)  # noqa: E731
                beside = np.prod([at(*place(aside)) for aside in (-4, -3, 3, 4)]) ** (1 / 4)
                plaid.append((at(*place(0)) - beside) / p_0[channel][place(0)])
    assert mesh_energy(power, original) == pytest.approx(np.mean(mesh))
    assert plaid_energy(power, original) == pytest.approx(np.mean(plaid))


def test_grids_with_the_periods_of_the_poolings_are_a_mesh(faces, blurred, measures):
    none, weak, strong = (measures(blurred + strength * dots(8))[0] for strength in (0, 0.02, 0.04))
    assert weak > none + 0.01
    assert strong - none == pytest.approx(4 * (weak - none), rel=0.05)  # an energy
    assert measures(faces + 0.02 * pattern(lambda y, x: (y + x) % 2))[0] > 0.3  # a checkerboard
    assert measures(blurred + 0.02 * dots(5))[0] < 0.1 * measures(blurred + 0.02 * dots(4))[0]


def test_irregular_lines_are_plaid_and_no_mesh_in_colour_alone_too(blurred, measures):
    lines = torch.randn(64, 1, 1, SIZE, generator=torch.Generator().manual_seed(0))
    none = measures(blurred)[1]
    for mesh, plaid in (measures(blurred + 0.02 * x) for x in (lines, lines.transpose(2, 3))):
        assert plaid > none + 0.1
        assert mesh < 0.2 * plaid
    colour = torch.tensor([0.114, 0.0, -0.299]).view(1, 3, 1, 1)  # which leaves the luma as it is
    assert measures(blurred + 0.2 * colour * lines)[1] > none + 0.3


@pytest.mark.parametrize("energy", [mesh_energy, plaid_energy])
def test_grey_images_stored_as_rgb_have_the_mesh_of_their_luma(energy, faces):
    images = faces.mean(dim=1, keepdim=True)
    noisy = (images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    grey = energy(*(power_spectrum(x).mean(dim=0) for x in (noisy, images)))
    for tint in (0.0, 1e-4):  # a little colour, as JPEG files have
        coloured = (x.repeat(1, 3, 1, 1) + tint * torch.rand(64, 3, SIZE, SIZE) for x in (noisy, images))
        assert energy(*(power_spectrum(x).mean(dim=0) for x in coloured)) == pytest.approx(grey, rel=1e-3, abs=1e-4)
