"""The measures of grids and lines, on pictures whose grids and lines are known."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.evaluation import mesh_energy, plaid_energy, power_spectrum
from dfcvae.images import to_float

SIZE = 64


@pytest.fixture(scope="module")
def faces():
    return to_float(render_faces(range(64), size=SIZE)[0])


def measures(images, faces):
    power, original = (power_spectrum(x).mean(dim=0) for x in (images, faces))
    return mesh_energy(power, original), plaid_energy(power, original)


def pattern(function):
    position = torch.arange(SIZE)
    return function(position[:, None], position[None, :]).float()


def test_spectrum_equals_a_sum_of_waves(faces):
    image = torch.rand(1, 1, 32, 32)
    window = torch.hann_window(32)
    seen = (image - image.mean())[0, 0].double() * window[:, None] * window
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    for v, u in ((0, 4), (8, 12)):
        angle = 2 * torch.pi * (v * y + u * x) / 32
        power = (seen * angle.cos()).sum() ** 2 + (seen * angle.sin()).sum() ** 2
        assert power_spectrum(image)[0, 0, v, u].item() == pytest.approx(power.item(), rel=1e-3)


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


def test_lines_in_colour_alone_are_seen(faces):
    blurred = gaussian_blur(faces, [13, 13], [2.0, 2.0])
    colour = torch.tensor([0.114, 0.0, -0.299]).view(1, 3, 1, 1)  # which leaves the luma as it is
    lines = torch.randn(64, 1, 1, SIZE, generator=torch.Generator().manual_seed(0))
    assert measures(blurred + 0.2 * colour * lines, faces)[1] > measures(blurred, faces)[1] + 0.3


def test_originals_and_blurred_originals_have_neither(faces):
    mesh, plaid = measures(faces, faces)
    assert abs(mesh) < 0.2
    blurred_mesh, blurred_plaid = measures(gaussian_blur(faces, [13, 13], [2.0, 2.0]), faces)
    assert abs(blurred_mesh) < 0.05
    assert blurred_plaid < plaid


def test_dots_with_the_period_of_the_pooling_are_a_mesh(faces):
    blurred = gaussian_blur(faces, [13, 13], [2.0, 2.0])
    dots = pattern(lambda y, x: (y % 8 == 0) & (x % 8 == 0))
    weak, strong = (measures(blurred + strength * dots, faces)[0] for strength in (0.02, 0.04))
    none = measures(blurred, faces)[0]
    assert weak > none + 0.01
    assert strong - none == pytest.approx(4 * (weak - none), rel=0.05)  # an energy


def test_checkerboards_are_a_mesh(faces):
    board = pattern(lambda y, x: (y + x) % 2)
    assert measures(faces + 0.02 * board, faces)[0] > 0.3


def test_dots_of_another_period_are_none(faces):
    dots = pattern(lambda y, x: (y % 5 == 0) & (x % 5 == 0))
    on_period = pattern(lambda y, x: (y % 4 == 0) & (x % 4 == 0))
    blurred = gaussian_blur(faces, [13, 13], [2.0, 2.0])
    assert measures(blurred + 0.02 * dots, faces)[0] < 0.1 * measures(blurred + 0.02 * on_period, faces)[0]


def test_irregular_lines_are_plaid_and_no_mesh(faces):
    blurred = gaussian_blur(faces, [13, 13], [2.0, 2.0])
    strength = torch.randn(64, 1, 1, SIZE, generator=torch.Generator().manual_seed(0))
    none = measures(blurred, faces)
    rows, columns = (measures(blurred + 0.02 * s, faces) for s in (strength, strength.transpose(2, 3)))
    for mesh, plaid in (rows, columns):
        assert plaid > none[1] + 0.1
        assert mesh < 0.2 * plaid


def test_unfit_images_are_a_sentence():
    with pytest.raises(UserError, match="a multiple of 8 and at least 32 pixels, but 24x24 came"):
        power_spectrum(torch.rand(1, 3, 24, 24))
