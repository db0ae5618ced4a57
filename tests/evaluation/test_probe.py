"""Linear probes on codes in which it is known what can be read, and against scikit-learn and loops."""

import json
import re
from dataclasses import replace
from itertools import product

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from dfcvae.data import Faces
from dfcvae.data.synthetic import ATTRIBUTES
from dfcvae.errors import UserError
from dfcvae.evaluation import probe
from dfcvae.images import to_float
from dfcvae.vae import VAE

N, M, D = 300, 700, 5
NAMES = ("separable", "noisy", "random", "never")
SCALES = torch.tensor([1e-3, 1.0, 1.0, 1.0, 1e3])


@pytest.fixture(scope="module")
def codes():
    """Codes and labels (train, train, test, test); the test codes lie elsewhere than the training codes."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(N + M, D, generator=generator)
    noise = torch.randn(N + M, generator=generator)
    columns = [z[:, 0] > 0.5, z[:, 0] + z[:, 4] + noise > 0.5, noise > 0, torch.zeros(N + M, dtype=torch.bool)]
    z[N:, 1] += 0.5
    x, labels = z * SCALES + 3, torch.stack(columns, dim=1)
    return x[:N], labels[:N], x[N:], labels[N:]


@pytest.fixture
def vae():
    return VAE("hou2016", 32, 3, 8)


ORACLES = {"logistic regression": LogisticRegression(), "linear SVM": LinearSVC(dual=False)}


@pytest.mark.parametrize("classifier", ORACLES)
def test_scores_equal_a_pipeline_of_scikit_learn_and_counts_by_hand(classifier, codes):
    x, labels, held_out, truth = codes
    scores = probe.probe(*codes, NAMES)[classifier]
    for i, name in enumerate(NAMES[:3]):
        model = make_pipeline(StandardScaler(), ORACLES[classifier]).fit(x.double().numpy(), labels[:, i].numpy())
        decision = torch.as_tensor(model.decision_function(held_out.double().numpy()))
        has, said = truth[:, i], decision > 0
        pairs = [1.0 if a > b else 0.5 * (a == b) for a, b in product(decision[has].tolist(), decision[~has].tolist())]
        assert scores[name]["auroc"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)
        assert scores[name]["accuracy"] == pytest.approx((said == has).double().mean().item())
        recalls = [said[has].double().mean(), (~said[~has]).double().mean()]
        assert scores[name]["balanced_accuracy"] == pytest.approx(sum(recalls).item() / 2)


def test_the_majority_is_counted_in_the_training_faces():
    train = torch.tensor([[1, 0, 1], [1, 0, 1], [0, 1, 1]]).bool()
    test = torch.tensor([[1, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 1]]).bool()
    chance = {"balanced_accuracy": 0.5, "auroc": 0.5}
    assert probe.majority_scores(train, test, "abc") == {
        "a": {"accuracy": 0.25} | chance,
        "b": {"accuracy": 0.25} | chance,
    }
    assert probe.majority_scores(test, test, "abc")["c"] == {"accuracy": 0.75} | chance


def test_attributes_of_one_value_are_named_with_the_split():
    varies, never, always = (torch.tensor(values).bool() for values in ([0, 1], [0, 0], [1, 1]))
    train, test = torch.stack([varies, never, varies, always], 1), torch.stack([varies, varies, always, never], 1)
    assert probe.one_valued(train, test, "abcd") == {
        "b": "one value only in train",
        "c": "one value only in test",
        "d": "one value only in train and test",
    }
    assert set(probe.one_valued(train[:0], test, "abcd")) == set("abcd")


def test_the_untrained_encoder_is_the_same_network_with_fixed_weights(vae):
    state = torch.get_rng_state()
    first, again = probe.untrained(vae), probe.untrained(vae)
    assert torch.equal(torch.get_rng_state(), state)
    assert first.config == vae.config
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(next(first.parameters()), next(vae.parameters()))


def test_components_of_pixels_equal_those_of_all_images_at_once(splits):
    """Where the images vary in no more directions than are kept, nothing is lost between parts."""
    basis, weights = torch.randint(0, 20, (6, 3 * 8 * 8)), torch.randint(0, 3, (450, 6))
    images = (weights @ basis).view(450, 3, 8, 8).to(torch.uint8)
    train, test = images[:410], images[410:]
    codes, held_out = probe.pixel_components(train, test, 6)
    oracle = PCA(6).fit(to_float(train).flatten(1).double().numpy())
    for mine, part in ((codes, train), (held_out, test)):
        theirs = torch.as_tensor(oracle.transform(to_float(part).flatten(1).double().numpy())).float()
        torch.testing.assert_close(mine.abs(), theirs.abs(), rtol=1e-3, atol=1e-3)  # signs are arbitrary
    few = splits["test"].images
    assert probe.pixel_components(few, few, 100)[0].shape == (len(few), len(few))


def few_attributes(faces):
    columns = [ATTRIBUTES.index(name) for name in ("Male", "Smiling")]
    constant = torch.ones(len(faces), 1, dtype=torch.bool)
    return Faces(faces.images, torch.cat([faces.attributes[:, columns], constant], 1), ("Male", "Smiling", "Constant"))


def test_a_model_is_probed_beside_its_controls(vae, splits):
    train, test = few_attributes(splits["train"]), few_attributes(splits["test"])
    vae.train()
    result = probe.probe_model(vae, {"train": train, "test": test})
    assert vae.training
    vae.eval()
    assert (result.train_images, result.test_images) == (len(train), len(test))
    assert result.dimensions == {"latents": 8, "random encoder": 8, "pixel PCA": 8}
    assert set(result.majority) | set(result.left_out) == set(train.names)
    assert result.left_out == {"Constant": "one value only in train and test"}
    x, held_out = to_float(train.images), to_float(test.images)
    expected = {
        "latents": (vae.encode(x)[0].detach(), vae.encode(held_out)[0].detach()),
        "random encoder": tuple(probe.untrained(vae).eval().encode(images)[0].detach() for images in (x, held_out)),
        "pixel PCA": probe.pixel_components(train.images, test.images, 8),
    }
    for kind, (a, b) in expected.items():
        scores = probe.probe(a, train.attributes, b, test.attributes, train.names)
        for classifier, rows in result.scores[kind].items():
            for name, row in rows.items():
                assert row == pytest.approx(scores[classifier][name], abs=1e-6), (kind, classifier, name)


def test_of_many_faces_the_first_are_used(vae, splits, monkeypatch):
    train, test = few_attributes(splits["train"]), few_attributes(splits["test"])
    images = train.images
    monkeypatch.setattr("dfcvae.evaluation.probe.PCA_IMAGES", 30)
    assert torch.equal(
        probe.pixel_components(images, images, 4)[0][:30], probe.pixel_components(images[:30], images, 4)[0]
    )
    expected = probe.probe_model(vae, {"train": train.subset(40), "test": test})
    monkeypatch.setattr("dfcvae.evaluation.probe.AT_MOST", 40)
    assert probe.probe_model(vae, {"train": train, "test": test}) == expected
    assert expected.train_images == 40


def test_faces_without_varying_attributes_are_a_sentence(vae, splits):
    train, test = splits["train"], splits["test"]
    bare = Faces(test.images, test.attributes[:, :0], ())
    with pytest.raises(UserError, match="none of the 0 attributes of these 24 and 24 faces does"):
        probe.probe_model(vae, {"train": bare, "test": bare})
    alike = replace(test, attributes=torch.zeros_like(test.attributes))
    with pytest.raises(
        UserError, match=r"of these 64 and 24 faces does. Name a data set with --source that has attributes"
    ):
        probe.probe_model(vae, {"train": train, "test": alike})


def result_of(names):
    """Scores that are known: 0.9 for the latents' logistic regression, 0.8 for all else, 0.1 less for the second."""
    rows = {name: 0.8 - 0.1 * (i == 1) for i, name in enumerate(names)}

    def scores(more):
        return {name: dict.fromkeys(("accuracy", "balanced_accuracy", "auroc"), rows[name] + more) for name in names}

    kinds = ("latents", "random encoder", "pixel PCA")
    by_kind = {kind: {"logistic regression": scores(0), "linear SVM": scores(0)} for kind in kinds}
    by_kind["latents"]["logistic regression"] = scores(0.1)
    return probe.Probe(7000, 500, dict.fromkeys(kinds, 100), scores(0), by_kind, {})


def test_the_table_holds_means_attributes_and_what_was_left_out():
    result = replace(result_of(ATTRIBUTES[:4]), left_out={"Bald": "one value only in test"})
    text = probe.probe_table(result)
    lines = {line.split("  ")[0]: line.split()[-3:] for line in text.splitlines() if line}
    assert lines["mean over 4 attributes"] == ["accuracy", "balanced", "AUROC"]
    assert lines["latents, logistic regression"] == ["0.875"] * 3
    assert lines["random encoder, linear SVM"] == ["0.775"] * 3
    assert lines[ATTRIBUTES[1]] == ["0.800", "0.700", "0.700"]
    assert "Skipped: Bald, one value only in test." in text
    assert "fitted to 7,000 training faces and scored on 500 others" in text
    assert "published" not in text
    record = json.loads(json.dumps(probe.probe_record(result)))
    assert record["mean"]["latents, logistic regression"] == pytest.approx(
        probe.mean_scores(result.scores["latents"]["logistic regression"])
    )
    assert record["scores"] == result.scores
    assert (record["control_seed"], record["pca_images"]) == (0, 7000)
    assert "published" not in record


def test_published_rows_stand_below_celebas_forty_attributes():
    result = result_of((*ATTRIBUTES, *(f"Another_{i}" for i in range(40 - len(ATTRIBUTES)))))
    text = probe.probe_table(result)
    assert "Measured on all 202,599 images" in text
    assert re.search(r"LNets\+ANet +0\.8730 +Liu et al\. 2015", text)
    assert probe.probe_record(result)["published"]["rows"]["DFC-VAE, linear SVM"]["accuracy"] == 0.8695
