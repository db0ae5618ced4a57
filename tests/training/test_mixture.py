"""At its end a training fits the mixture that samples are drawn from; whatever prevents that, it has succeeded."""

import signal

import pytest
import torch

from dfcvae import fitted, training
from dfcvae.ablate import train_once
from dfcvae.errors import PreemptedError
from dfcvae.fitted import load_prior, prior_file, saved_mixture
from dfcvae.latent import Prior
from dfcvae.training import train
from dfcvae.vae import VAE, digest

TOLD = "Could not fit a mixture to the latents, so samples come from N(0, I): "


def test_a_training_keeps_the_mixture_of_its_best_checkpoint(plain, splits, tmp_path, capsys):
    run = train(plain, tmp_path / "run", data=splits)
    told = capsys.readouterr().out
    vae = VAE.load(run.folder)
    prior = Prior.load(prior_file(run.folder, "gmm"), digest(vae), "synthetic")
    assert digest(vae) == digest(VAE.load(run.folder / "checkpoints" / "best.ckpt"))
    assert f"Prior for samples: {prior}, saved in {run.folder}" in told
    assert str(load_prior(run.folder)) == str(prior) != "N(0, I)"
    generator = torch.Generator().manual_seed(0)
    mu, logvar = fitted.posteriors(vae, splits["test"])
    z = mu + (logvar / 2).exp() * torch.randn(mu.shape, generator=generator)
    assert prior.log_prob(z).mean() > Prior.standard(8).log_prob(z).mean()


def test_too_few_faces_are_told_and_training_succeeds(plain, splits, tmp_path, capsys):
    few = splits | {"train": splits["train"].subset(16)}
    run = train(plain, tmp_path / "run", data=few, progress=False)
    told = capsys.readouterr().err
    assert f"{TOLD}A mixture in 8 latent dimensions needs at least 32 faces, got 16; use the Gaussian" in told
    assert run.metrics["val/total"] > 0
    assert str(load_prior(run.folder)) == "N(0, I)"


@pytest.mark.parametrize("error", [ValueError("ill-defined covariance"), OSError(28, "No space left"), MemoryError()])
def test_a_fit_that_fails_does_not_fail_the_training(error, plain, splits, tmp_path, capsys, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(fitted, "fit_mixture", fail)
    train(plain, tmp_path / "run", data=splits, progress=False)
    assert TOLD in capsys.readouterr().err
    assert not (tmp_path / "run" / "latent").exists()


def test_an_interrupted_run_has_none_a_resumed_one_gets_it_once_and_a_longer_one_anew(
    plain, splits, tmp_path, monkeypatch
):
    fits = []
    fit = fitted.fit_mixture
    monkeypatch.setattr(fitted, "fit_mixture", lambda *a: fits.append(1) or fit(*a))
    with monkeypatch.context() as patch:
        patch.setattr("dfcvae.run.draw", lambda *_: signal.raise_signal(signal.SIGTERM) or {})
        with pytest.raises(PreemptedError):
            train(plain, tmp_path / "run", data=splits, progress=False)
    assert fits == []
    assert not (tmp_path / "run" / "latent").exists()
    for _ in range(2):
        train(plain, tmp_path / "run", data=splits, resume="auto", progress=False)
        assert fits == [1]
    prior_file(tmp_path / "run", "gmm").unlink()
    before = (tmp_path / "run" / "metrics.csv").read_bytes()
    train(plain, tmp_path / "run", data=splits, resume="auto", progress=False)  # finished
    assert fits == [1, 1]
    assert (tmp_path / "run" / "metrics.csv").read_bytes() == before
    plain.training.epochs = 4
    train(plain, tmp_path / "run", data=splits, resume=True, progress=False)
    assert saved_mixture(tmp_path / "run", VAE.load(tmp_path / "run")) is not None  # of the new weights


def test_runs_of_studies_have_that_of_their_last_step(plain, splits, tmp_path, monkeypatch):
    """Which is measured, not that of the best epoch."""
    totals = iter((1.0, 2.0))
    checked = training.validate
    monkeypatch.setattr(training, "validate", lambda *a: checked(*a) | {"val/total": next(totals)})
    train_once(plain, tmp_path / "run", splits=splits)
    last, best = (tmp_path / "run" / "checkpoints" / name for name in ("last.ckpt", "best.ckpt"))
    assert digest(VAE.load(last)) != digest(VAE.load(best))
    assert saved_mixture(last, VAE.load(last)) is not None
