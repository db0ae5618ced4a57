"""A training run from end to end, small: its steps against a naive loop, and what it leaves behind."""

import csv
import gc
import json
import math
import shutil
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch

from dfcvae import metrics
from dfcvae.build import build_objective, build_perceptual, build_vae
from dfcvae.config import DataConfig, Experiment
from dfcvae.data import TrainingBatches
from dfcvae.device import WORKSPACE, check_accelerator, pick_device, pick_precision
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.gaussian import kl_divergence
from dfcvae.images import to_float, translate
from dfcvae.losses import Objective
from dfcvae.metrics import read_cost
from dfcvae.run import Run, picture_interval
from dfcvae.seeding import Stream, noise, ramp, rate, shift_of
from dfcvae.training import terms_of, train, validate
from dfcvae.vae import VAE
from tests.conftest import tiny_experiment
from tests.training.runs import (
    assert_same,
    last,
    run,
    with_features,
    with_likelihood_and_shift,
    with_loss,
    with_training,
)

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, splits):
    """A finished run of the tiny experiment."""
    return run(tiny_experiment(), tmp_path_factory.mktemp("runs") / "tiny", splits)


def objective_of(experiment, splits):
    perceptual = build_perceptual(experiment.loss.features)
    return build_objective(experiment.loss, perceptual, splits["train"].images)


OPTIONS = {
    "plain": {"schedule": "exponential", "decay": 0.5, "betas": (0.5, 0.9)},
    "all": {"micro_batches": 2, "warmup_steps": 6, "schedule": "cosine", "ema_decay": 0.9, "clip_norm": 0.5},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_the_steps_are_those_of_a_naive_loop(options, experiment, splits, tmp_path):
    """Eight steps, written out: Adam on the mean total, with learning rate, KL weight and EMA by their formulas."""
    experiment = with_training(with_loss(with_features(experiment, shift=8), kl_warmup_steps=5), epochs=2, **options)
    config, seen = experiment.training, []
    result = run(experiment, tmp_path / "x", splits, on_step=lambda step, means, _: seen.append(float(means["total"])))
    vae, objective = build_vae(experiment), objective_of(experiment, splits)
    adam = torch.optim.Adam(vae.parameters(), betas=config.betas, fused=True)
    average = {name: value.detach().clone() for name, value in vae.named_parameters()}
    feed = TrainingBatches(splits["train"], 16, seed=0, micro_batches=config.micro_batches).starting_at(0)
    for step in range(8):
        total = 0.0
        for k in range(config.micro_batches):
            x = next(feed).images.float() / 255
            eps = noise(experiment, Stream.TRAIN_NOISE, step * config.micro_batches + k, len(x), CPU)
            x_hat, mu, logvar = vae(x, eps)
            terms = objective.terms(x_hat, x, mu, logvar, shift_of(experiment, step))
            alpha = 0.004 * min(1, (step + 1) / 5)
            loss = alpha * kl_divergence(mu, logvar) + sum(
                weight * terms[name] for name, weight in objective.weights.items() if name != "kl"
            )
            (loss.mean() / config.micro_batches).backward()
            total += loss.mean().item() / config.micro_batches
        assert seen[step] == pytest.approx(total, rel=1e-4)
        if config.clip_norm:
            torch.nn.utils.clip_grad_norm_(vae.parameters(), config.clip_norm)
        adam.param_groups[0]["lr"] = 1e-3 * {
            "cosine": lambda step: min(1, (step + 1) / 6) * math.cos(math.pi * step / 16) ** 2,
            "exponential": lambda step: 0.5 ** (step // 4),
        }[config.schedule](step)
        adam.step()
        adam.zero_grad()
        if config.ema_decay:
            decay = 0.0 if step == 0 else min(config.ema_decay, (step + 1) / (step + 11))  # the first is a copy
            for name, value in vae.named_parameters():
                average[name] = decay * average[name] + (1 - decay) * value.detach()
    state = last(result.folder)
    for name, value in vae.named_parameters():
        if value.ndim == 1:
            continue  # the gradient of a bias ahead of a batch norm is rounding error, which Adam magnifies
        torch.testing.assert_close(state["vae"][name], value.detach(), rtol=1e-3, atol=1e-5)
        if config.ema_decay:
            torch.testing.assert_close(state["ema"][name], average[name], rtol=1e-3, atol=1e-5)
    if config.ema_decay:
        counters = [name for name, value in state["ema"].items() if not value.is_floating_point()]
        assert counters
        assert all(state["ema"][name] == state["vae"][name] > 0 for name in counters)


def test_the_run_folder_is_complete(finished):
    names = {str(path.relative_to(finished.folder)) for path in finished.folder.rglob("*") if path.is_file()}
    assert names == {
        "config.yaml",
        "environment.json",
        "accounting.json",
        "cost.json",
        "metrics.csv",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        "latent/prior-gmm.safetensors",
        "pictures/reconstructions-0001.png",
        "pictures/reconstructions-0002.png",
        "pictures/samples-0001.png",
        "pictures/samples-0002.png",
    }
    environment = json.loads((finished.folder / "environment.json").read_text())
    assert environment["versions"]["torch"] == version("torch")
    accounting = json.loads((finished.folder / "accounting.json").read_text())
    assert accounting["weights"] == {"kl": 0.004, "pixel": 0.5, "features/conv2_1": 0.25, "features/bn3_1": 0.25}
    assert accounting["scales"].keys() - {"kl"} == accounting["weights"].keys() - {"kl"}
    assert accounting["beta_eff"] == pytest.approx(0.004 * accounting["scales"]["pixel"] * 3072 / 2 / 0.5)


def test_scales_are_those_of_the_training_images(finished, splits):
    scales = json.loads((finished.folder / "accounting.json").read_text())["scales"]
    x = to_float(splits["train"].images)
    assert scales["pixel"] == pytest.approx((x - x.mean(dim=0)).square().mean().item(), rel=1e-4)


def validated_again(experiment, out, splits):
    vae, objective = VAE.load(out / "checkpoints/last.ckpt"), objective_of(experiment, splits)
    return pytest.approx(validate(experiment, vae, objective, splits["val"], CPU), rel=1e-4)


def test_the_metrics_are_those_of_the_last_model_on_the_validation_split(finished, splits):
    assert finished.metrics == validated_again(tiny_experiment(), finished.folder, splits)


def test_a_run_gives_its_model_history_and_experiment(finished, splits):
    again = Run(finished.folder)
    x = to_float(splits["val"].images[:2])
    assert not again.model.training
    assert torch.equal(again.model.reconstruct(x), VAE.load(finished.folder).reconstruct(x))
    assert again.experiment == tiny_experiment()
    with (finished.folder / "metrics.csv").open() as file:
        found = [{name: float(cell) for name, cell in row.items() if cell} for row in csv.DictReader(file)]
    assert again.history == found
    assert again.metrics == {name: value for name, value in found[-1].items() if name.startswith("val/")}


def test_a_log_file_says_what_is_trained_and_has_a_line_per_epoch(plain, splits, tmp_path, capsys):
    run(plain, tmp_path / "x", splits, progress=True)
    told = capsys.readouterr().err
    assert "data    synthetic, 64 training and 24 validation images of 3x32x32\n" in told
    assert "steps   8 of 16 images, 4 per epoch\n" in told
    assert f"folder  {tmp_path / 'x'}\n" in told
    header, first, second = (line.split() for line in told.splitlines() if line.startswith(("epoch ", "1/2 ", "2/2 ")))
    assert header == ["epoch", "step", "train", "val", "kl", "pixel"]
    assert (first[1], second[1]) == ("4", "8")
    expected = [Run(tmp_path / "x").metrics[f"val/{name}"] for name in ("total", "kl", "pixel")]
    assert [float(cell) for cell in second[3:6]] == pytest.approx(expected, rel=1e-3)
    assert not {"\r", "\x1b"} & set(told)
    run(plain, tmp_path / "x", splits, resume=True, progress=True)
    assert f"{tmp_path / 'x'} is finished, at step 8; nothing is left to train." in capsys.readouterr().err
    run(plain, tmp_path / "y", splits)
    assert not capsys.readouterr().err


def test_data_and_processes_that_do_not_fit_are_sentences(plain, splits, tmp_path, monkeypatch):
    few = splits | {"val": splits["val"].subset(1)}
    with pytest.raises(UserError, match="Validation needs at least 2 images, got 1 in the validation split"):
        run(plain, tmp_path / "x", few)
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(UserError, match=r"training\.devices: expected the number of processes started, got 1 in rank"):
        run(plain, tmp_path / "x", splits)


@pytest.mark.parametrize("logger", ["wandb", "tensorboard"])
def test_a_missing_logger_is_named_before_the_data_is_decoded(logger, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    missing = replace(with_training(plain, logger=logger), data=DataConfig(source=str(tmp_path / "nothing")))
    with pytest.raises(UserError, match=f"training.logger: {logger} is not installed; run `pip install {logger}`"):
        train(missing, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mac_is_told_that_its_gpu_is_not_used(monkeypatch, capsys):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_accelerator("cpu")
    assert not capsys.readouterr().err
    check_accelerator("auto")
    assert "Apple's GPU (mps) is not supported; training on the CPU." in capsys.readouterr().err
    assert pick_device("auto") == CPU


@pytest.mark.parametrize("parts", [1, 2])
def test_a_logged_row_is_of_its_own_step_and_of_all_micro_batches(parts, plain, splits, tmp_path):
    """Every tenth step and the last."""
    seen = []
    options = {"micro_batches": parts, "epochs": 3, "schedule": "exponential", "decay": 0.5, "warmup_steps": 4}
    settings = with_training(with_loss(plain, kl_warmup_steps=24), **options)
    result = run(settings, tmp_path / "x", splits, on_step=lambda step, means, _: seen.append(dict(means)))
    logged = {row["step"]: row for row in result.history if "train/total" in row}
    assert list(logged) == [9, 11]
    for step, row in logged.items():
        for name, value in seen[step].items():
            assert row[f"train/{name}"] == float(value)
        assert row["lr"] == pytest.approx(0.25e-3)
        assert row["alpha"] == pytest.approx(0.004 * (step + 1) / 24)


def test_checkpoints_hold_the_vae_and_no_feature_network(finished):
    checkpoint = last(finished.folder)
    vae = VAE("hou2016", 32, 3, 8)
    assert set(checkpoint) == {"vae", "optimizer", "step", "best", "about"}
    assert set(checkpoint["vae"]) == set(vae.state_dict())
    size = 4 * sum(p.numel() for p in vae.parameters())
    assert (finished.folder / "checkpoints" / "last.ckpt").stat().st_size < 3 * size + 100_000
    assert (finished.folder / "checkpoints" / "best.ckpt").stat().st_size < size + 100_000
    assert Experiment.from_dict(checkpoint["about"]["config"]).name == "tiny"
    best = torch.load(finished.folder / "checkpoints" / "best.ckpt", weights_only=True)["vae"]
    assert torch.equal(VAE.load(finished.folder).encoder.mu.weight, best["encoder.mu.weight"])


def test_fitted_variances_fall_with_the_errors_and_stay_in_the_checkpoint(experiment, splits, tmp_path):
    result = run(with_likelihood_and_shift(experiment), tmp_path / "x", splits)
    variances = last(result.folder)["likelihood"]["variance"]
    start = json.loads((result.folder / "accounting.json").read_text())["scales"]
    assert len(variances) == 3
    assert variances[0] != pytest.approx(start["pixel"], rel=1e-3)
    assert VAE.load(result.folder).config["size"] == 32


def test_what_is_printed_at_the_start_does_not_change_the_model(plain, splits, tmp_path, capsys):
    run(with_training(plain, max_steps=1), tmp_path / "x", splits, progress=True)
    assert "beta_eff = " in capsys.readouterr().err
    counters = [value for name, value in last(tmp_path / "x")["vae"].items() if name.endswith("num_batches_tracked")]
    assert len(counters) > 3
    assert set(map(int, counters)) == {1}  # the batches that updated the statistics of batch norm


def test_the_feature_network_is_bitwise_unchanged_by_training(experiment, splits, tmp_path, monkeypatch):
    perceptual = build_perceptual(experiment.loss.features)
    monkeypatch.setattr("dfcvae.training.build_perceptual", lambda features: perceptual)
    run(experiment, tmp_path / "x", splits)
    trained = dict(perceptual.features.named_buffers())
    fresh = dict(VGGFeatures("vgg11_bn", [4, "bn3_1"], "random").named_buffers())
    assert not any(module.training for module in perceptual.features.modules())
    assert trained.keys() == fresh.keys()
    assert all(torch.equal(trained[name], value) for name, value in fresh.items())


@pytest.mark.parametrize("shift", [0, 8])
def test_validation_gives_the_numbers_of_training_unshifted_and_unwarmed(shift, experiment, splits):
    """Of all validation images in their order, never mirrored: the same terms, weights and code."""
    experiment = with_loss(with_features(experiment, shift=shift), kl_warmup_steps=100)
    vae, objective = build_vae(experiment).eval(), objective_of(experiment, splits)
    found = validate(experiment, vae, objective, splits["val"], CPU)
    eps = torch.cat([noise(experiment, Stream.VALIDATION_NOISE, i, n, CPU) for i, n in ((0, 16), (1, 8))])
    with torch.no_grad():
        expected, _ = terms_of(vae, objective, splits["val"].images, eps)
    assert list(found) == [f"val/{name}" for name in (*objective.weights, "total", "active_units")]
    for name, value in expected.items():
        assert found[f"val/{name}"] == pytest.approx(float(value.mean()), rel=1e-5), name


def test_the_shift_is_a_function_of_seed_and_step_and_moves_both_images(experiment, splits):
    experiment = with_features(experiment, shift=8)
    offsets = [shift_of(experiment, step) for step in range(200)]
    assert shift_of(experiment, 199) == offsets[-1]
    assert {down for down, _ in offsets} == {right for _, right in offsets} == set(range(-4, 4))
    objective, (x, x_hat) = objective_of(experiment, splits), torch.rand(2, 4, 3, 32, 32)
    posterior = torch.zeros(4, 8), torch.zeros(4, 8)
    terms = objective.terms(x_hat, x, *posterior, shift=(3, -2))
    moved = objective.terms(translate(x_hat, 3, -2), translate(x, 3, -2), *posterior)
    still = objective.terms(x_hat, x, *posterior)
    assert torch.equal(terms["features/bn3_1"], moved["features/bn3_1"])
    assert not torch.equal(terms["features/bn3_1"], still["features/bn3_1"])
    assert torch.equal(terms["pixel"], still["pixel"])


def test_schedules(experiment):
    def rates(steps, **options):
        return [rate(with_training(experiment, **options).training, step, 4) for step in steps]

    assert rates(range(13), schedule="exponential", decay=0.5) == [1] * 4 + [0.5] * 4 + [0.25] * 4 + [0.125]
    assert rates((0, 6, 12), schedule="cosine", epochs=3) == pytest.approx([1, 0.5, 0])
    assert rates((0, 1, 3, 9), warmup_steps=4) == [0.25, 0.5, 1.0, 1.0]
    assert rates((0, 8), warmup_steps=4, schedule="cosine", epochs=4) == pytest.approx([0.25, 0.5])
    assert [ramp(step, 4) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    assert ramp(0, 0) == 1.0


def test_noise_is_a_function_of_seed_stream_and_counter(experiment):
    draws = [
        noise(experiment, stream, i, 4, CPU) for stream in (Stream.TRAIN_NOISE, Stream.VALIDATION_NOISE) for i in (0, 1)
    ]
    draws.append(noise(with_training(experiment, seed=1), Stream.TRAIN_NOISE, 0, 4, CPU))
    assert torch.equal(draws[0], noise(experiment, Stream.TRAIN_NOISE, 0, 4, CPU))
    assert len({draw.sum().item() for draw in draws}) == 5
    first, again, other = (build_vae(with_training(experiment, seed=seed)).encoder.mu.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_ema_is_what_is_evaluated_and_loaded(experiment, splits, tmp_path):
    experiment = with_training(experiment, ema_decay=0.5)
    assert run(experiment, tmp_path / "x", splits).metrics == validated_again(experiment, tmp_path / "x", splits)
    state = last(tmp_path / "x")
    average = state["ema"]["encoder.mu.weight"]
    assert not torch.equal(average, state["vae"]["encoder.mu.weight"])
    assert torch.equal(VAE.load(tmp_path / "x/checkpoints/last.ckpt").encoder.mu.weight, average)


@pytest.mark.slow
def test_mixed_precision_trains(experiment, splits, tmp_path):
    few = {name: faces.subset(16) for name, faces in splits.items()}  # bfloat16 is slow without its instructions
    experiment = with_training(experiment, precision="bf16-mixed", max_steps=2)
    assert run(experiment, tmp_path / "x", few).metrics["val/total"] < 3


def test_automatic_precision_is_that_of_the_hardware(monkeypatch):
    for supported, expected in ((True, "bf16-mixed"), (False, "32-true")):
        found = {"avx512_bf16": supported, "amx_bf16": False}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda found=found: found, raising=False)
        assert pick_precision("auto", CPU) == expected
        assert pick_precision("32-true", CPU) == "32-true"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_step_is_the_step(experiment, splits):
    values = []
    for function in (terms_of, torch.compile(terms_of)):
        vae, objective = build_vae(experiment), objective_of(experiment, splits)
        terms, _ = function(vae, objective, splits["train"].images[:16], torch.ones(16, 8))
        terms["total"].mean().backward()
        values.append((terms["total"].detach(), vae.decoder.project.weight.grad))
    torch.testing.assert_close(values[0], values[1], rtol=1e-4, atol=1e-5)  # other orders of summation


def test_what_a_callable_does_to_the_mode_of_the_model_does_not_matter(plain, splits, tmp_path):
    for name, on_step in (("a", None), ("b", lambda step, means, vae: vae.eval())):
        run(with_training(plain, max_steps=3), tmp_path / name, splits, on_step=on_step)
    assert_same(last(tmp_path / "a")["vae"], last(tmp_path / "b")["vae"])


@pytest.mark.slow
def test_collapse_is_said(experiment, splits, tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.metrics.PATIENCE_STEPS", 4)
    with pytest.warns(UserWarning, match=r"The posterior has collapsed: KL .* nats.*Lower loss.alpha"):
        run(with_training(with_loss(experiment, alpha=100.0), epochs=3), tmp_path / "x", splits)


def test_divergence_stops_before_a_checkpoint_is_written(plain, splits, tmp_path):
    """One step, after which the weights are finite and no output is: validation is the first to see it."""
    with pytest.raises(UserError, match=r"Training diverged before step \d+: .*val/total not finite.*lower"):
        run(with_training(plain, learning_rate=1e30, max_steps=1), tmp_path / "x", splits)
    assert not list((tmp_path / "x").rglob("*.ckpt"))


def test_a_loss_that_is_not_finite_ends_the_run_before_the_step(plain, splits, tmp_path, monkeypatch):
    """The pixel term of one image goes wrong in the second epoch: the checkpoint of the first is kept."""
    image, terms, before = 5, Objective.terms, {}
    batches = TrainingBatches(splits["train"], 16, seed=0)
    step = next(step for step in range(4, 8) if image in batches.rows(step))

    def spoilt(self, x_hat, x, *rest):
        values = terms(self, x_hat, x, *rest)
        shown, marked = (x * 255).round().to(torch.uint8), splits["train"].images[image]
        it = (shown == marked).flatten(1).all(1) | (shown == marked.flip(-1)).flatten(1).all(1)
        return values | {"pixel": values["pixel"] * torch.where(it, float("inf"), 1.0)}

    run(with_training(plain, epochs=1), tmp_path / "x", splits)
    checkpoint = (tmp_path / "x/checkpoints/last.ckpt").read_bytes()
    monkeypatch.setattr(Objective, "terms", spoilt)
    told = rf"before step {step + 1}: pixel not finite, for the training images 5 \(rows of the training split"
    with pytest.raises(UserError, match=told):
        run(plain, tmp_path / "x", splits, resume=True, on_step=lambda step, *_: before.update(step=step))
    assert before.get("step", 3) == step - 1
    assert (tmp_path / "x/checkpoints/last.ckpt").read_bytes() == checkpoint


def test_a_gradient_that_is_not_finite_ends_the_run_with_all_images_of_the_step(plain, splits, tmp_path):
    def spoil(step, means, vae):
        if step == 1:  # of the next step: a finite loss with an infinite gradient
            vae.decoder.project.weight.register_hook(lambda gradient: gradient * float("inf"))

    images = ", ".join(map(str, TrainingBatches(splits["train"], 16, seed=0).rows(2)))
    with pytest.raises(UserError, match=f"before step 3: the gradient not finite, for the training images {images} "):
        run(plain, tmp_path / "x", splits, on_step=spoil)


def test_tensorboard_works_offline(plain, splits, tmp_path):
    pytest.importorskip("tensorboard")
    run(with_training(plain, logger="tensorboard", epochs=1), tmp_path / "x", splits)
    assert list((tmp_path / "x" / "tensorboard").rglob("events.out.tfevents*"))


@pytest.mark.slow
def test_a_resumed_run_continues_its_run_of_wandb(plain, splits, tmp_path):
    pytest.importorskip("wandb")
    plain = with_training(plain, logger="wandb", epochs=1)
    run(plain, tmp_path / "x", splits)
    run_id = (tmp_path / "x/wandb-id").read_text().strip()
    run(with_training(plain, epochs=2), tmp_path / "x", splits, resume=True)
    run(plain, tmp_path / "y", splits)
    assert list((tmp_path / "x/wandb").rglob("*samples*"))
    parts = [path.name for path in (tmp_path / "x/wandb").glob("offline-run-*")]
    assert len(parts) == 2
    # wandb appends a number to the folder of a run begun again within the same second.
    assert all(f"-{run_id}" in name for name in parts)
    assert (tmp_path / "y/wandb-id").read_text().strip() != run_id


def test_a_long_run_has_at_most_fifty_pictures_of_a_kind():
    for every, epochs, most in ((1, 50, 50), (1, 51, 26), (1, 1000, 50), (3, 1000, 50), (1, 3, 3), (30, 1000, 34)):
        interval = picture_interval(every, epochs)
        assert most - 3 <= epochs // interval <= most
        assert interval % every == 0


def test_the_cost_counts_the_images_of_all_sessions_and_no_time_of_validation(plain, splits, tmp_path):
    first = run(plain, tmp_path / "x", splits)
    before = read_cost(first.folder)
    assert before["images"] == 2 * 64
    assert 0 < before["training_seconds"] <= before["total_seconds"]
    assert before["images_per_second"] == pytest.approx(before["images"] / before["training_seconds"], rel=0.2)
    assert before["peak_memory_mib"] > 100
    run(with_training(plain, epochs=4), first.folder, splits, resume=True)
    after = read_cost(first.folder)
    assert after["images"] == 2 * before["images"]
    assert after["training_seconds"] > before["training_seconds"]
    assert after["total_seconds"] > before["total_seconds"]
    assert read_cost(tmp_path) == {}


def test_deterministic_flags_hold_within_the_run_and_are_recorded(plain, splits, tmp_path, monkeypatch):
    monkeypatch.delenv(WORKSPACE, raising=False)
    run(with_training(plain, deterministic=True, max_steps=1), tmp_path / "x", splits)
    about = json.loads((tmp_path / "x/environment.json").read_text())
    assert about["deterministic"] is True
    assert about["cudnn"] | {"deterministic": True, "benchmark": False} == about["cudnn"]
    assert about["variables"][WORKSPACE] == ":4096:8"
    assert f"{torch.get_num_threads()} threads" in about["machine"]
    assert not torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cudnn.deterministic


@pytest.mark.slow
def test_steps_leave_no_tensors_behind(plain, splits, tmp_path):
    """Of those alive after a step, batches that threads have gathered ahead come and go."""
    alive = {}

    def count(step, *_):
        if step in (39, 199):
            gc.collect()
            alive[step] = sum(issubclass(type(thing), torch.Tensor) for thing in gc.get_objects())

    run(with_training(plain, epochs=50, ema_decay=0.9), tmp_path / "x", splits, on_step=count)
    assert alive[199] - alive[39] < 80  # half of what one more per step would be


def test_metrics_have_every_term_in_training_and_validation(finished):
    found = finished.history
    weights = {"kl": 0.004, "pixel": 0.5, "features/conv2_1": 0.25, "features/bn3_1": 0.25}
    validation = [row for row in found if "val/total" in row]
    assert [row["epoch"] for row in validation] == [0, 1]
    for row in validation:
        assert row["val/total"] == pytest.approx(sum(w * row[f"val/{term}"] for term, w in weights.items()), rel=1e-5)
    assert {f"train/{term}" for term in (*weights, "total")} <= set().union(*found)
    assert finished.metrics["val/total"] == validation[-1]["val/total"]
