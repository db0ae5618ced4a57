import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from dfcvae.errors import UserError
from dfcvae.fitted import load_vectors
from dfcvae.latent import AttributeVectors, attribute_vector, balanced_rows, label_correlation, project_out
from dfcvae.latent.attributes import TELLING, grouped


def latents(n=4000, seed=0):
    """Latents in which axis 0 is glasses, axis 1 is sex, axis 2 has both in its noise; most with glasses are men."""
    g = torch.Generator().manual_seed(seed)
    male = torch.rand(n, generator=g) < 0.4
    glasses = torch.rand(n, generator=g) < torch.where(male, 0.5, 0.1)
    z = torch.randn(n, 6, generator=g)
    z[:, 0] += 3 * glasses
    z[:, 1] += 2 * male
    return z, torch.stack([glasses, male], dim=1), ("Eyeglasses", "Male")


def test_the_mean_difference_is_numpys():
    z, has, _ = latents()
    has, numbers = has[:, 0], z.numpy()
    expected = numbers[has.numpy()].mean(axis=0) - numbers[~has.numpy()].mean(axis=0)
    np.testing.assert_allclose(attribute_vector(z, has), expected, rtol=1e-4, atol=1e-5)


def test_all_faces_are_used_unless_something_is_balanced():
    z, attributes, names = latents(500)
    vectors = AttributeVectors.fit(z, attributes, names)
    assert vectors.how == "differences of class means"
    for i, name in enumerate(names):
        assert torch.equal(vectors[name], attribute_vector(z, attributes[:, i]))
    normals, again = (
        AttributeVectors.fit(z, attributes, names, method="classifier", balance=["Male"]) for _ in range(2)
    )
    assert normals.how == "normals of linear classifiers, balanced by Male"
    assert torch.equal(normals.vectors, again.vectors)  # the same faces are drawn


def test_balance_takes_the_other_attribute_out_of_the_difference():
    z, attributes, names = latents()
    plain = AttributeVectors.fit(z, attributes, names)["Eyeglasses"]
    balanced = AttributeVectors.fit(z, attributes, names, balance=["Male"])["Eyeglasses"]
    assert plain[1] > 0.7  # in part a change of sex
    assert abs(balanced[1]) < 0.2
    assert balanced[0] == pytest.approx(3, abs=0.2)


def test_the_classifiers_normal_points_where_fishers_does_and_covers_the_distance_of_the_means():
    z, attributes, _ = latents()
    z[:, 2] += 2 * z[:, 0]  # a latent that only repeats another: no help to a classifier, half of the means' difference
    has = attributes[:, 0]
    normal, difference = attribute_vector(z, has, "classifier"), attribute_vector(z, has)
    fisher = torch.as_tensor(LinearDiscriminantAnalysis().fit(z.numpy(), has.numpy()).coef_[0]).float()
    assert normal @ fisher / normal.norm() / fisher.norm() > 0.97
    assert difference @ fisher / difference.norm() / fisher.norm() < 0.6
    torch.testing.assert_close(normal @ normal, normal @ difference)


def test_the_classifier_does_not_mind_the_scale_of_a_latent():
    z, attributes, _ = latents()
    scale = torch.tensor([100.0, 0.01, 1.0, 1.0, 1.0, 1.0])
    normal, scaled = (attribute_vector(points, attributes[:, 0], "classifier") for points in (z, z * scale))
    directions = [vector / vector.norm() for vector in (normal, scaled * scale)]  # a normal scales inversely
    assert directions[0] @ directions[1] > 0.999


def test_projection_by_hand():
    """(1, 2, 3) without the plane of x and y is (0, 0, 3), however that plane is spanned."""
    vector = torch.tensor([1.0, 2.0, 3.0])
    others = torch.tensor([[1.0, 0, 0], [1.0, 1.0, 0], [2.0, 2.0, 0]])
    torch.testing.assert_close(project_out(vector, others), torch.tensor([0.0, 0.0, 3.0]), atol=1e-6, rtol=0)
    assert torch.equal(project_out(vector, others[:0]), vector)


def test_balanced_rows_hold_equal_numbers_of_every_combination():
    _, attributes, _ = latents(1000)
    has, others = attributes[:, 0], torch.stack([attributes[:, 1], torch.rand(1000) < 0.3], dim=1)
    rows = balanced_rows(has, others, torch.Generator().manual_seed(0))
    assert len(rows.unique()) == len(rows) > 100
    for a in (True, False):
        for b in (True, False):
            kind = (others[rows] == torch.tensor([a, b])).all(dim=1)
            assert int((kind & has[rows]).sum()) == int((kind & ~has[rows]).sum())
            available = (others == torch.tensor([a, b])).all(dim=1)  # no more are left out than must be
            fewer = min(int((available & has).sum()), int((available & ~has).sum()))
            assert int((kind & has[rows]).sum()) == fewer
    assert not torch.equal(rows, balanced_rows(has, others, torch.Generator().manual_seed(1)))


def test_label_correlation_is_numpys():
    _, attributes, _ = latents()
    np.testing.assert_allclose(label_correlation(attributes), np.corrcoef(attributes.numpy().T), atol=1e-5)
    assert label_correlation(attributes[:, :1]) == torch.ones(1, 1)
    constant = torch.cat([attributes, torch.ones(len(attributes), 1, dtype=torch.bool)], dim=1)
    assert label_correlation(constant)[2].isnan().all()


def test_vector_correlation_is_the_cosine():
    vectors = AttributeVectors(("a", "b", "c"), torch.tensor([[1.0, 0], [1.0, 1.0], [0.0, -2.0]]))
    half = 0.5**0.5
    expected = torch.tensor([[1, half, 0], [half, 1, -half], [0, -half, 1]])
    torch.testing.assert_close(vectors.correlation(), expected)


def test_editing_by_several_attributes_adds_their_steps():
    z, attributes, names = latents()
    vectors = AttributeVectors.fit(z, attributes, names)
    edited = vectors.edit(z[:5], {"Eyeglasses": 1.5, "Male": -1})
    torch.testing.assert_close(edited, z[:5] + 1.5 * vectors["Eyeglasses"] - vectors["Male"])
    kept = vectors.edit(z[:5], {"Eyeglasses": 1.5}, keep=["Male"]) - z[:5]
    assert (kept @ vectors["Male"]).abs().max() < 1e-4
    assert (kept[:, 0] > 2).all()


def test_rare_attributes_are_left_out_and_mistakes_are_told():
    z, attributes, names = latents(200)
    rare = torch.cat([attributes, torch.arange(200)[:, None] < 9], dim=1)
    vectors = AttributeVectors.fit(z, rare, (*names, "Bald"))
    assert vectors.names == names
    with pytest.raises(UserError, match=r"no attribute 'Mal' \(did you mean 'Male'\?\); there are Eyeglasses, Male"):
        vectors["Mal"]
    with pytest.raises(
        UserError, match="10 faces with and 10 without an attribute; none of the 2 attributes of these 5"
    ):
        AttributeVectors.fit(z[:5], attributes[:5], names)
    with pytest.raises(UserError, match="no attribute 'Hat'"):
        AttributeVectors.fit(z, attributes, names, balance=["Hat"])
    with pytest.raises(ValueError, match="0 of 200 have it"):
        attribute_vector(z, torch.zeros(200, dtype=torch.bool))


def test_the_most_telling_attributes_come_first_and_every_one_is_in_one_group():
    names = load_vectors("celeba-64").names
    celeba = grouped(names)
    assert next(iter(celeba)) == "Most telling"
    assert celeba["Most telling"] == list(TELLING)
    assert sorted(name for group in celeba.values() for name in group) == sorted(names)
    assert "5_o_Clock_Shadow" in celeba["Beard"]
    assert "Receding_Hairline" in celeba["Hair"]
    assert grouped(("tall", "old")) == {"Most telling": ["tall", "old"]}
