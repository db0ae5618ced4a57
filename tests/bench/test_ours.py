"""The package's own step in the benchmark."""

import pytest
import torch

from dfcvae.bench.faces import decoded_faces
from dfcvae.bench.ours import OwnStep
from dfcvae.bench.popular import Measures, PopularStep
from dfcvae.bench.step import PARTS, flops_per_image, seconds_of_parts, seconds_per_step, train

pytestmark = pytest.mark.slow  # they start processes and run whole networks


def own(folder, settings, kept=False):
    return OwnStep(settings, decoded_faces(folder, 32), "32-true", kept)


@pytest.mark.parametrize("kept", [False, True])
def test_the_pieces_make_the_step(folder, settings, kept):
    step = own(folder, settings, kept)
    batch = step.fetch()
    torch.testing.assert_close(step.loss(batch, step.forward(batch)), step.total(batch), rtol=1e-5, atol=0)


def test_kept_targets_leave_the_loss_as_it_is(folder, settings):
    step = own(folder, settings, kept=True)
    batch = step.fetch()
    assert batch.targets is not None
    plain = step.total(batch._replace(targets=None))
    torch.testing.assert_close(step.total(batch), plain, rtol=0.01, atol=0)
    assert not torch.equal(step.total(batch), plain)


def test_cutting_the_graph_for_the_parts_changes_no_weight(folder, settings):
    whole, cut = own(folder, settings), own(folder, settings)
    train(whole, 1)
    spent = seconds_of_parts(cut, 1)
    assert tuple(spent) == PARTS
    assert all(value > 0 for value in spent.values())
    for a, b in zip(whole.module.vae.parameters(), cut.module.vae.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_flops_fall_with_the_network_and_with_kept_targets(folder, settings):
    popular = flops_per_image(PopularStep(settings, folder, Measures(cached=True)))
    short = flops_per_image(PopularStep(settings, folder, Measures(cached=True, truncate=True)))
    ours, kept = (flops_per_image(own(folder, settings, kept)) for kept in (False, True))
    # vgg19_bn's convolutions at 32 pixels, from its table: 2 * 9 * C_in * C_out * side^2 each
    widths = [3, 64, 64, 128, 128, *[256] * 4, *[512] * 8]
    sides = [32] * 2 + [16] * 2 + [8] * 4 + [4] * 4 + [2] * 4
    cost = [18 * a * b * side**2 for a, b, side in zip(widths, widths[1:], sides, strict=False)]
    assert popular - short == pytest.approx(2 * sum(cost[14:]))  # both images; no gradient comes from there
    assert ours == pytest.approx(short, rel=1e-6)
    assert ours - kept == pytest.approx(sum(cost[:14]))


def test_the_clock_counts_whole_steps(folder, settings):
    step = own(folder, settings)
    assert 0 < seconds_per_step(step, 1, warm_up=1) < 60
    assert step.taken == 2
