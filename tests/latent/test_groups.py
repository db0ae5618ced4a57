"""Attributes in groups."""

from dfcvae.fitted import load_vectors
from dfcvae.latent.groups import TELLING, grouped


def test_the_most_telling_attributes_come_first_and_every_one_is_in_one_group():
    names = load_vectors("celeba-64").names
    celeba = grouped(names)
    assert next(iter(celeba)) == "Most telling"
    assert celeba["Most telling"] == list(TELLING)
    assert sorted(name for group in celeba.values() for name in group) == sorted(names)
    assert "5_o_Clock_Shadow" in celeba["Beard"]
    assert "Receding_Hairline" in celeba["Hair"]
    assert grouped(("tall", "old")) == {"Most telling": ["tall", "old"]}
