"""The synthetic faces: always the same, the same at any size, varied, and true to their labels."""

import hashlib

import pytest
import torch

from dfcvae.data.synthetic import ATTRIBUTES, paint, render_faces
from dfcvae.data.synthetic.dice import Dice
from dfcvae.data.synthetic.people import People, draw_people


@pytest.fixture(scope="module")
def many():
    """Attributes of 4096 faces; the smallest pictures, since only the labels are wanted."""
    return render_faces(range(4096), seed=3, size=16)[1]


# ---- what is returned


def test_names_are_in_the_order_of_celeba_which_is_alphabetical():
    assert list(ATTRIBUTES) == sorted(ATTRIBUTES)
    assert len(ATTRIBUTES) == 31


@pytest.mark.parametrize("kind", [range, lambda *ends: [*range(*ends)], torch.arange])
@pytest.mark.parametrize("size", [1, 17])
def test_indices_may_be_of_several_kinds_and_none_and_sizes_any(kind, size):
    images, attributes = render_faces(kind(3, 6), size=size)
    assert torch.equal(images, render_faces((3, 4, 5), size=size)[0])
    assert (images.dtype, attributes.dtype) == (torch.uint8, torch.bool)
    images, attributes = render_faces(kind(0, 0), size=size)
    assert (images.shape, attributes.shape) == ((0, 3, size, size), (0, len(ATTRIBUTES)))


# ---- always the same


def test_the_faces_are_those_of_all_recorded_results():
    """Pinned: shipped models and recorded numbers belong to these faces."""
    images, attributes = render_faces(range(64), size=32)
    known = hashlib.sha256(attributes.numpy().tobytes() + images.contiguous().numpy().tobytes()).hexdigest()
    assert known[:16] == "ea117285423403d2"


@pytest.mark.parametrize(("batch", "size"), [(1, 37), (7, 64), (33, 64)])
def test_a_face_does_not_depend_on_its_batch_or_place(batch, size):
    whole, labels = render_faces(range(66), size=size)
    for first in range(0, 66, batch):
        images, attributes = render_faces(range(first, min(first + batch, 66)), size=size)
        assert torch.equal(images, whole[first : first + batch])
        assert torch.equal(attributes, labels[first : first + batch])
    assert torch.equal(render_faces(torch.arange(66).flip(0), size=size)[0].flip(0), whole)


def test_a_face_does_not_depend_on_threads_or_global_random_state():
    threads, before = torch.get_num_threads(), torch.get_rng_state()
    try:
        torch.set_num_threads(1)
        alone = render_faces(range(24))[0]
        assert torch.equal(torch.get_rng_state(), before)
        torch.set_num_threads(3)
        torch.manual_seed(1)
        assert torch.equal(render_faces(range(24))[0], alone)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("other", [1, -1, 2**32, 2**40 + 1])
def test_every_seed_and_every_bit_of_an_index_counts(other):
    here = render_faces(range(8))[0].float()
    for others in (render_faces(range(8), seed=other)[0], render_faces(range(other, other + 8))[0]):
        same = (others == here).flatten(1).all(dim=1)
        assert not same[0]
        assert (others.float() - here)[~same].abs().mean() > 10


# What is left is the finest texture, which is sampled at pixel centres and not averaged over pixels.
@pytest.mark.parametrize(("small", "large", "tolerance"), [(32, 64, 0.04), (64, 128, 0.02), (128, 256, 0.01)])
def test_the_same_face_at_another_resolution(small, large, tolerance):
    fine, fine_labels = render_faces(range(32), size=large)
    coarse, coarse_labels = render_faces(range(32), size=small)
    shrunk = torch.nn.functional.avg_pool2d(fine.float(), large // small)
    gap = (shrunk - coarse.float()).abs().mean(dim=(1, 2, 3)) / 255
    stranger = (shrunk.roll(1, 0) - coarse.float()).abs().mean(dim=(1, 2, 3)) / 255
    assert gap.amax() < tolerance
    assert gap.mean() < 0.1 * stranger.mean()
    assert torch.equal(fine_labels, coarse_labels)


# ---- labels


def test_attributes_are_neither_rare_nor_others_in_disguise(many):
    share = many.float().mean(dim=0)
    assert 0.05 < share.min() < share.max() < 0.95
    correlation = torch.corrcoef(many.T.float()) - torch.eye(many.shape[1])
    assert correlation.abs().amax() < 0.85


def test_attributes_go_together_as_in_life(many):
    share = {name: many[:, k] for k, name in enumerate(ATTRIBUTES)}
    male = share["Male"]
    assert share["Wearing_Lipstick"][~male].float().mean() > 5 * share["Wearing_Lipstick"][male].float().mean()
    assert share["No_Beard"][~male].float().mean() > 0.9 > 0.6 > share["No_Beard"][male].float().mean()
    hidden = share["Bald"] | share["Wearing_Hat"]
    for name in ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair", "Bangs", "Wavy_Hair", "Straight_Hair"):
        assert not (share[name] & hidden).any()


SEEN = {  # where the attribute is measured: top, bottom, left and right in fractions of the picture; how; by how much
    "Blond_Hair": (0.13, 0.20, 0.42, 0.58, lambda colour: colour.mean(dim=1), 0.2),
    "Black_Hair": (0.13, 0.20, 0.42, 0.58, lambda colour: -colour.mean(dim=1), 0.08),
    "Gray_Hair": (0.13, 0.20, 0.42, 0.58, lambda colour: colour[:, 2] - colour[:, 0], 0.08),
    "Pale_Skin": (0.52, 0.57, 0.36, 0.42, lambda colour: colour.mean(dim=1), 0.1),
    "Rosy_Cheeks": (0.52, 0.57, 0.36, 0.42, lambda colour: colour[:, 0] / colour[:, 1], 0.12),
    "Wearing_Lipstick": (0.63, 0.68, 0.46, 0.54, lambda colour: colour[:, 0] / colour[:, 1], 0.25),
}


def test_colours_of_hair_skin_and_lips_are_seen():
    images, attributes = render_faces(range(512))
    for name, (top, bottom, left, right, measure, least) in SEEN.items():
        rows, columns = (slice(int(64 * start), int(64 * end)) for start, end in ((top, bottom), (left, right)))
        value = measure(images[:, :, rows, columns].float().mean(dim=(2, 3)) / 255)
        true = attributes[:, ATTRIBUTES.index(name)]
        assert value[true].mean() > least + value[~true].mean(), name


@pytest.mark.parametrize(
    ("trait", "top", "bottom", "least"),
    [
        # Switching a trait on changes these rows of the picture (in fractions of its height), and no others.
        ("glasses", 0.25, 0.65, 0.02),
        ("earrings", 0.40, 0.80, 0.003),
        ("necktie", 0.70, 1.00, 0.02),
        ("necklace", 0.70, 1.00, 0.004),
        ("hat", 0.00, 0.50, 0.05),
        ("bangs", 0.00, 0.52, 0.005),
        ("bald", 0.00, 1.00, 0.05),
        ("rosy", 0.40, 0.70, 0.005),
        ("freckled", 0.35, 0.70, 0.002),
        ("makeup", 0.25, 0.55, 0.0012),
        ("mustache", 0.50, 0.75, 0.008),
        ("goatee", 0.50, 1.00, 0.010),
        ("full_beard", 0.40, 1.00, 0.030),
        ("stubble", 0.40, 0.95, 0.010),
        ("sideburns", 0.30, 0.65, 0.003),
    ],
)
def test_a_trait_is_drawn_where_it_belongs(trait, top, bottom, least):
    size, people = 64, draw_people(Dice(torch.arange(16), seed=5))

    def with_trait(value):
        changed = People(**vars(people) | {trait: torch.full_like(vars(people)[trait], value)})
        return paint(changed, size).float() / 255

    gap = (with_trait(1) - with_trait(0)).abs().mean(dim=(0, 1, 3))
    inside = slice(int(top * size), int(bottom * size))
    assert gap[inside].mean() > least
    gap[inside] = 0
    assert gap.amax() == 0
