import hashlib
import json

import torch

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.config import DataConfig
from dfcvae.evaluation import protocol
from dfcvae.latent import Prior
from dfcvae.vae import VAE, digest


def test_the_card_says_what_the_numbers_come_from_and_no_path(tmp_path):
    vae = VAE("hou2016", 32, 3, 8)
    network = AttributeNetwork("vgg11_bn", 0.125, ("Male",))
    file = network.save(tmp_path / "secret" / "judge.safetensors")
    data = DataConfig(source=str(tmp_path / "secret" / "faces"), size=32, crop="full")
    card = protocol(vae, data, images=24, judge=file, samples=20, draws=5, seed=3)
    assert card["model"] == digest(vae)
    assert card["network"] == "hou2016, 8 latent dimensions"
    assert card["data"] == "faces, test split, 24 images"
    assert card["pixels"] == "32x32 RGB, crop full, bilinear"
    assert card["judge"] == "attribute-trained judge: vgg11_bn, width 0.125"
    assert card["judge_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert card["samples"] == "20 in each set, from N(0, I)"
    assert card["draws"] == 5
    assert card["seed"] == 3
    assert card["intervals"] == "95 %, 1000 resamples of the images"
    assert "secret" not in json.dumps(card)


def test_the_card_without_a_judge():
    data = DataConfig(size=32, channels=1)
    card = protocol(VAE("hou2016", 32, 1, 8), data, images=24, judge=None, samples=0, draws=1, seed=0)
    assert card["data"] == "synthetic, test split, 24 images"
    assert card["pixels"].startswith("32x32 grey, ")
    assert "judge" not in card
    assert "samples" not in card


def test_the_card_tells_the_fitted_prior_of_the_samples():
    vae, data = VAE("hou2016", 32, 1, 8), DataConfig(size=32, channels=1)
    cards = []
    for shift in (0, 1):
        mixture = Prior(
            torch.tensor([0.5, 0.5]), torch.eye(8)[:2] + shift, torch.stack([torch.eye(8), 2 * torch.eye(8)])
        )
        how = {"images": 24, "judge": None, "samples": 20, "draws": 1, "seed": 0}
        cards.append(protocol(vae, data, **how, mixture=mixture))
    told = "20 in each set, from N(0, I) and from what was fitted to the latents: mixture of 2 Gaussians"
    assert [card["samples"] for card in cards] == [told, told]
    assert cards[0]["mixture_sha256"] != cards[1]["mixture_sha256"]
