"""Losses and gradients that are not finite, put in at a step."""

import json
from dataclasses import replace

import pytest
import torch

from dfcvae.data import TrainingBatches
from dfcvae.errors import UserError
from dfcvae.losses import Objective
from dfcvae.training import train
from dfcvae.training.module import VAETraining
from tests.conftest import tiny_experiment
from tests.training.test_run import assert_same, last


@pytest.fixture(scope="module")
def plain():
    """A plain VAE: two epochs of four steps."""
    return replace(tiny_experiment(), loss=replace(tiny_experiment().loss, features=None))


def allowing(experiment, steps):
    return replace(experiment, training=replace(experiment.training, skip_nonfinite=steps))


def run(experiment, out, splits, **arguments):
    return train(experiment, out, splits=splits, progress=False, **arguments)


@pytest.fixture
def spoil(monkeypatch, splits):
    """Make a term of one image of training steps something else, wherever that image comes."""

    def put_in(value, term="pixel", image=5):
        marked, terms = splits["train"].images[image], Objective.terms

        def spoilt(self, x_hat, x, *rest):
            values = terms(self, x_hat, x, *rest)
            shown = (x * 255).round().to(torch.uint8)
            it = (shown == marked).flatten(1).all(1) | (shown == marked.flip(-1)).flatten(1).all(1)
            return values | {term: values[term] * torch.where(it, value, 1.0)}

        monkeypatch.setattr(Objective, "terms", spoilt)

    return put_in


def step_of(image, splits, epoch=0):
    """The step of an epoch of four in which an image comes."""
    batches = TrainingBatches(splits["train"], 16, seed=0)
    return next(s for s in range(4 * epoch, 4 * epoch + 4) if image in torch.cat([r for r, _ in batches.of_step(s)]))


@pytest.mark.parametrize("value", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.slow)])
def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(value, plain, splits, spoil, tmp_path, monkeypatch):
    step = step_of(5, splits)
    spoil(value)
    seen = {}
    weights = lambda module: {name: p.detach().clone() for name, p in module.vae.named_parameters()}  # noqa: E731
    begin = VAETraining.training_step
    monkeypatch.setattr(
        VAETraining,
        "training_step",
        lambda self, *rest: seen.update(before=weights(self), module=self) or begin(self, *rest),
    )
    told = rf"before step {step + 1}: pixel not finite, with the training images 5 \(rows of the training split"
    with pytest.raises(UserError, match=told):
        run(plain, tmp_path / "x", splits)
    assert_same(seen["before"], weights(seen["module"]))
    assert not list((tmp_path / "x").rglob("*.ckpt"))


def test_the_last_good_checkpoint_is_kept_and_can_be_resumed(plain, splits, spoil, tmp_path, monkeypatch):
    """The image goes wrong from the second epoch on."""
    first = replace(plain, training=replace(plain.training, epochs=1))
    run(first, tmp_path / "x", splits)
    before = (tmp_path / "x/checkpoints/last.ckpt").read_bytes()
    with monkeypatch.context():
        spoil(float("nan"), "kl")
        with pytest.raises(UserError, match=rf"before step {step_of(5, splits, epoch=1) + 1}: kl not finite"):
            run(plain, tmp_path / "x", splits, resume=True)
    assert (tmp_path / "x/checkpoints/last.ckpt").read_bytes() == before


def test_a_gradient_that_is_not_finite_ends_the_run_with_all_images_of_the_step(plain, splits, tmp_path, monkeypatch):
    def spoil_gradient(self, *_):
        if self.global_step == 2:
            self.vae.decoder.project.weight.grad[0, 0] = float("inf")

    monkeypatch.setattr(VAETraining, "on_after_backward", spoil_gradient)
    images = torch.cat([rows for rows, _ in TrainingBatches(splits["train"], 16, seed=0).of_step(2)])
    told = f"before step 3: the gradient not finite, with the training images {', '.join(map(str, images.tolist()))} "
    with pytest.raises(UserError, match=told):
        run(plain, tmp_path / "x", splits)


def test_so_many_steps_are_left_out_and_counted(plain, splits, spoil, tmp_path):
    """One in each epoch, in which nothing of the model moves, its statistics neither; the third is one too many."""
    spoil(float("nan"))
    with pytest.warns(UserWarning, match=r"Step \d+ was left out: pixel not finite \((1|2) of at most 2 such steps\)"):
        run(allowing(plain, 2), tmp_path / "x", splits)
    state = last(tmp_path / "x")
    assert state["global_step"] == 8
    assert all(torch.isfinite(value).all() for value in state["state_dict"].values())
    assert int(state["state_dict"]["vae.encoder.trunk.1.num_batches_tracked"]) == 6
    assert {int(moments["step"]) for moments in state["optimizer_states"][0]["state"].values()} == {6}
    assert json.loads((tmp_path / "x/cost.json").read_text())["skipped_steps"] == 2
    longer = replace(plain, training=replace(plain.training, epochs=3))
    with pytest.raises(UserError, match="2 steps were left out before"):
        run(allowing(longer, 2), tmp_path / "x", splits, resume=True)


def test_a_step_left_out_is_a_step_not_taken(plain, splits, tmp_path, monkeypatch):
    """Training goes on as if the learning rate of that step had been 0 and its batch had left no statistics."""
    states = []

    def spoil_gradient(self, *_):
        if self.global_step == 1:
            self.vae.decoder.project.weight.grad[0, 0] = float("nan")

    def keep(self, *_):
        states.append({name: value.clone() for name, value in self.vae.state_dict().items()})

    monkeypatch.setattr(VAETraining, "on_after_backward", spoil_gradient)
    monkeypatch.setattr(VAETraining, "on_train_batch_end", keep)
    with pytest.warns(UserWarning, match="Step 2 was left out: the gradient"):
        run(allowing(replace(plain, training=replace(plain.training, max_steps=3)), 1), tmp_path / "x", splits)
    assert_same(states[0], states[1])
    assert not torch.equal(states[1]["encoder.mu.weight"], states[2]["encoder.mu.weight"])


def test_what_is_read_later_was_left_out_in_its_step(plain, splits, spoil, tmp_path, monkeypatch):
    """As on a GPU: the steps between the one that went wrong and the reading are not taken either."""
    from dfcvae.training.nonfinite import FiniteSteps

    step, states = step_of(5, splits), []
    end = FiniteSteps.on_train_batch_end

    def late(self, trainer, module, *rest):
        states.append({name: value.detach().clone() for name, value in module.vae.named_parameters()})
        if trainer.global_step % 4 == 0:
            end(self, trainer, module, *rest)

    monkeypatch.setattr(FiniteSteps, "on_train_batch_end", late)
    spoil(float("nan"))
    with pytest.raises(UserError, match=rf"before step {step + 1}: pixel not finite, with the training images 5 "):
        run(plain, tmp_path / "x", splits)
    assert len(states) == 4
    for state in states[step:]:
        assert_same(state, states[max(step - 1, 0)] if step else states[0])
