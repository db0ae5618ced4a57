"""A training run from end to end, small: what it leaves behind, and that it can be stopped and resumed."""

import csv
import json
import shutil
from dataclasses import replace
from importlib.metadata import version

import pytest
import torch

from dfcvae.config import Experiment
from dfcvae.data import Faces
from dfcvae.data.batches import Batch
from dfcvae.errors import UserError
from dfcvae.features import VGGFeatures
from dfcvae.images import to_float, translate
from dfcvae.seeding import Stream
from dfcvae.training import build_objective, build_perceptual, build_vae, train
from dfcvae.training.environment import pick_precision
from dfcvae.training.module import VAETraining
from dfcvae.vae import VAE


def run(experiment, out, splits, **arguments):
    return train(experiment, out, splits=splits, progress=False, **arguments)


@pytest.fixture
def logs_every_step(monkeypatch):
    monkeypatch.setattr("dfcvae.training.module.LOG_EVERY", 1)


def first_batch(splits):
    return Batch(splits["train"].images[:16], splits["train"].attributes[:16])


def longer(experiment, epochs):
    return replace(experiment, training=replace(experiment.training, epochs=epochs))


def last(out):
    return torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(a, b, path=""):
    """Bitwise equality of nested dicts, lists and tensors."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), path
        for key in a:
            assert_same(a[key], b[key], f"{path}/{key}")
    elif isinstance(a, (list, tuple)):
        assert len(a) == len(b), path
        for i, pair in enumerate(zip(a, b, strict=True)):
            assert_same(*pair, f"{path}/{i}")
    elif isinstance(a, torch.Tensor):
        assert torch.equal(a, b), path
    else:
        assert a == b, path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, splits):
    """A finished run of the tiny experiment."""
    from tests.conftest import tiny_experiment

    out = tmp_path_factory.mktemp("runs") / "tiny"
    return run(tiny_experiment(), out, splits)


def test_the_run_folder_is_complete(finished, experiment):
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


def test_metrics_have_every_term_in_training_and_validation(finished):
    with (finished.folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    terms = ["kl", "pixel", "features/conv2_1", "features/bn3_1", "total"]
    validation = [row for row in rows if row["val/total"]]
    assert [row["epoch"] for row in validation] == ["0", "1"]
    for row in validation:
        weights = {"kl": 0.004, "pixel": 0.5, "features/conv2_1": 0.25, "features/bn3_1": 0.25}
        total = sum(weight * float(row[f"val/{term}"]) for term, weight in weights.items())
        assert float(row["val/total"]) == pytest.approx(total, rel=1e-5)
    assert all(f"train/{term}" in rows[0] for term in terms)
    assert finished.metrics["val/total"] == pytest.approx(float(validation[-1]["val/total"]), rel=1e-6)


def test_training_lowers_the_loss(experiment, splits, tmp_path):
    result = run(longer(experiment, 8), tmp_path / "x", splits)
    with (result.folder / "metrics.csv").open() as file:
        totals = [float(row["val/total"]) for row in csv.DictReader(file) if row["val/total"]]
    assert min(totals[-3:]) < 0.8 * totals[0]


def test_checkpoints_hold_the_vae_and_no_feature_network(finished, splits):
    checkpoint = last(finished.folder)
    vae = VAE("hou2016", 32, 3, 8)
    assert set(checkpoint["state_dict"]) == {f"vae.{key}" for key in vae.state_dict()}
    parameters = sum(p.numel() for p in vae.parameters())
    assert (finished.folder / "checkpoints" / "last.ckpt").stat().st_size < 3 * 4 * parameters + 100_000
    assert (finished.folder / "checkpoints" / "best.ckpt").stat().st_size < 4 * parameters + 100_000
    assert Experiment.from_dict(checkpoint["hyper_parameters"]["config"]).name == "tiny"


def test_a_run_folder_loads_as_a_model(finished):
    loaded = VAE.load(finished.folder)
    state = torch.load(finished.folder / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(loaded.encoder.mu.weight, state["vae.encoder.mu.weight"])


def with_likelihood_and_shift(experiment):
    features = replace(experiment.loss.features, shift=8)
    return replace(experiment, loss=replace(experiment.loss, alpha=1.0, scale="likelihood", features=features))


def with_kept_targets(experiment):
    return replace(
        experiment, loss=replace(experiment.loss, features=replace(experiment.loss.features, cache_targets="memory"))
    )


@pytest.mark.parametrize(
    ("options", "change"),
    [
        ({"parts": 2, "warmup_steps": 6}, with_kept_targets),
        ({"ema_decay": 0.9, "schedule": "exponential", "decay": 0.5, "clip_norm": 1.0}, with_likelihood_and_shift),
    ],
)
def test_resuming_gives_the_numbers_of_never_stopping(options, change, experiment, splits, tmp_path):
    experiment = change(replace(experiment, training=replace(experiment.training, **options)))
    run(longer(experiment, 3), tmp_path / "whole", splits)
    run(longer(experiment, 1), tmp_path / "parts", splits)
    run(longer(experiment, 3), tmp_path / "parts", splits, resume=True)
    whole, parts = last(tmp_path / "whole"), last(tmp_path / "parts")
    for key in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        assert_same(whole[key], parts[key], key)
    assert (tmp_path / "whole/metrics.csv").read_text() == (tmp_path / "parts/metrics.csv").read_text()


def test_fitted_variances_fall_with_the_errors_and_stay_in_the_checkpoint(experiment, splits, tmp_path):
    result = run(with_likelihood_and_shift(experiment), tmp_path / "x", splits)
    variances = last(result.folder)["state_dict"]["objective.likelihood.variance"]
    start = json.loads((result.folder / "accounting.json").read_text())["scales"]
    assert len(variances) == 3
    assert variances[0] != pytest.approx(start["pixel"], rel=1e-3)
    assert VAE.load(result.folder).config["size"] == 32


def test_resuming_a_finished_run_changes_nothing(experiment, splits, tmp_path):
    run(experiment, tmp_path / "x", splits)
    before = (tmp_path / "x/checkpoints/last.ckpt").read_bytes(), (tmp_path / "x/metrics.csv").read_text()
    run(experiment, tmp_path / "x", splits, resume=True)
    assert before == ((tmp_path / "x/checkpoints/last.ckpt").read_bytes(), (tmp_path / "x/metrics.csv").read_text())


def test_resuming_another_experiment_is_a_sentence(finished, experiment, splits, tmp_path):
    other = replace(experiment, loss=replace(experiment.loss, alpha=1.0))
    with pytest.raises(UserError, match=r"cannot be resumed .*: loss.alpha was 0.004 and is now 1"):
        run(other, finished.folder, splits, resume=True)
    plain = replace(experiment, loss=replace(experiment.loss, features=None))
    with pytest.raises(UserError, match=r"loss.features.arch was 'vgg11_bn' and is now '-'"):
        run(plain, finished.folder, splits, resume=True)
    with pytest.raises(UserError, match=r"nothing to resume in .*Start the run without --resume"):
        run(experiment, tmp_path / "none", splits, resume=True)
    with pytest.raises(UserError, match=r"already holds a run; continue it with --resume, or choose another folder"):
        run(experiment, finished.folder, splits)


def test_a_checkpoint_that_cannot_be_written_leaves_the_old_one(finished, monkeypatch):
    from dfcvae.training.callbacks import AtomicCheckpoints

    file = finished.folder / "checkpoints" / "last.ckpt"
    before = file.read_bytes()

    def cut_short(checkpoint, target):
        target.write(b"half of it")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", cut_short)
    with pytest.raises(UserError, match=r"could not be written to .*No space left.*the one before is whole"):
        AtomicCheckpoints().save_checkpoint({}, file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_what_is_printed_at_the_start_does_not_change_the_model(experiment, splits, tmp_path, monkeypatch):
    vae = build_vae(experiment)
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    monkeypatch.setattr("dfcvae.training.run.build_vae", lambda experiment: vae)
    seen = {}
    keep = lambda *_: seen.update({name: value.clone() for name, value in vae.state_dict().items()})  # noqa: E731
    monkeypatch.setattr(VAETraining, "on_train_start", keep)
    run(experiment, tmp_path / "x", splits)
    assert_same(before, seen)


@pytest.mark.slow
def test_a_moved_run_keeps_its_best_checkpoint(experiment, splits, tmp_path):
    run(longer(experiment, 2), tmp_path / "a", splits)
    (tmp_path / "a").rename(tmp_path / "b")
    best = (tmp_path / "b/checkpoints/best.ckpt").read_bytes()
    worse = replace(longer(experiment, 3), training=replace(longer(experiment, 3).training))
    monitor = last(tmp_path / "b")["callbacks"]
    score = next(value["best_model_score"] for value in monitor.values() if value.get("best_model_score") is not None)
    result = run(worse, tmp_path / "b", splits, resume=True)
    kept = (tmp_path / "b/checkpoints/best.ckpt").read_bytes() == best
    assert kept == (result.metrics["val/total"] >= float(score))


def test_divergence_stops_before_a_checkpoint_is_written(experiment, splits, tmp_path):
    """One step, after which the weights are finite and no output is: validation is the first to see it."""
    wild = replace(experiment, training=replace(experiment.training, learning_rate=1e30, max_steps=1))
    with pytest.raises(UserError, match=r"Training diverged before step \d+: .*val/total not finite.*Lower"):
        run(wild, tmp_path / "x", splits)
    assert not (tmp_path / "x/checkpoints/best.ckpt").exists()


@pytest.mark.parametrize(
    ("precision", "channels"), [pytest.param("bf16-mixed", 3, marks=pytest.mark.slow), ("32-true", 1)]
)
def test_mixed_precision_and_grey_images_train(precision, channels, experiment, splits, tmp_path):
    few = {name: faces.subset(16) for name, faces in splits.items()}  # bfloat16 is slow without its instructions
    faces = {name: Faces(f.images[:, :channels], f.attributes, f.names) for name, f in few.items()}
    experiment = replace(
        experiment,
        data=replace(experiment.data, channels=channels),
        training=replace(experiment.training, precision=precision, max_steps=2),
    )
    assert run(experiment, tmp_path / "x", faces).metrics["val/total"] < 3
    assert VAE.load(tmp_path / "x").image_shape == (channels, 32, 32)


def test_one_validation_image_is_a_sentence(experiment, splits, tmp_path):
    few = splits | {"val": splits["val"].subset(1)}
    with pytest.raises(UserError, match="Validation needs at least 2 images, but the validation split holds 1"):
        run(experiment, tmp_path / "x", few)


def module_of(experiment, splits):
    perceptual = build_perceptual(experiment.loss.features)
    objective = build_objective(experiment.loss, perceptual, splits["train"].images)
    return VAETraining(build_vae(experiment), objective, experiment, steps_per_epoch=4)


def test_the_feature_network_is_bitwise_unchanged_by_training(experiment, splits, tmp_path, monkeypatch):
    perceptual = build_perceptual(experiment.loss.features)
    monkeypatch.setattr("dfcvae.training.run.build_perceptual", lambda features: perceptual)
    run(experiment, tmp_path / "x", splits)
    trained = dict(perceptual.features.named_buffers())
    fresh = VGGFeatures("vgg11_bn", [4, "bn3_1"], "random")
    assert not any(module.training for module in perceptual.features.modules())
    assert trained.keys() == dict(fresh.named_buffers()).keys()
    assert all(torch.equal(trained[name], value) for name, value in fresh.named_buffers())


def test_training_and_validation_give_the_same_numbers(experiment, splits, monkeypatch, logs_every_step):
    """For the same batch, noise and mode: the same terms, weights and code."""
    module = module_of(experiment, splits).eval()
    logged = {}
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    monkeypatch.setattr(module, "noise", lambda *_: torch.zeros(16, 8))
    batch = first_batch(splits)
    module.training_step(batch, 0)
    module.validation_step(batch, 0)
    names = [name.removeprefix("train/") for name in logged if name.startswith("train/")]
    assert names == ["kl", "pixel", "features/conv2_1", "features/bn3_1", "total"]
    for name in names:
        assert torch.equal(logged[f"train/{name}"], logged[f"val/{name}"]), name


def test_the_shift_is_that_of_seed_and_step_and_moves_both_images(experiment, splits, monkeypatch):
    features = replace(experiment.loss.features, shift=8)
    shifted = replace(experiment, loss=replace(experiment.loss, features=features))
    module = module_of(shifted, splits)
    offsets = []
    for step in range(200):
        monkeypatch.setattr(type(module), "global_step", step)
        offsets.append(module.shift())
    assert module_of(shifted, splits).shift() == offsets[-1]
    assert {down for down, _ in offsets} == {right for _, right in offsets} == set(range(-4, 4))
    x, x_hat = torch.rand(2, 4, 3, 32, 32)
    posterior = torch.zeros(4, 8), torch.zeros(4, 8)
    terms = module.objective.terms(x_hat, x, *posterior, shift=(3, -2))
    moved = module.objective.terms(translate(x_hat, 3, -2), translate(x, 3, -2), *posterior)
    still = module.objective.terms(x_hat, x, *posterior)
    assert torch.equal(terms["features/bn3_1"], moved["features/bn3_1"])
    assert not torch.equal(terms["features/bn3_1"], still["features/bn3_1"])
    assert torch.equal(terms["pixel"], still["pixel"])


def test_validation_is_never_shifted(experiment, splits, monkeypatch):
    features = replace(experiment.loss.features, shift=8)
    modules = [
        module_of(replace(experiment, loss=replace(experiment.loss, features=f)), splits).eval()
        for f in (experiment.loss.features, features)
    ]
    batch = first_batch(splits)
    logged = [{}, {}]
    for module, values in zip(modules, logged, strict=True):
        monkeypatch.setattr(module, "log_dict", lambda new, values=values, **_: values.update(new))
        module.validation_step(batch, 0)
    assert logged[0]
    assert all(torch.equal(logged[0][name], logged[1][name]) for name in logged[0])


def test_training_hands_its_shift_to_the_objective(experiment, splits, monkeypatch):
    module = module_of(experiment, splits)
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    monkeypatch.setattr(module, "shift", lambda: (3, -2))
    terms, shifts = module.objective.terms, []
    monkeypatch.setattr(module.objective, "terms", lambda *given: shifts.append(given[4]) or terms(*given))
    module.training_step(first_batch(splits), 0)
    assert shifts == [(3, -2)]


def test_validation_images_are_the_validation_split_as_it_is(experiment, splits, tmp_path, monkeypatch):
    """All of it, in its order, never mirrored, and not the test split."""
    seen, step = [], VAETraining.validation_step

    def keep(self, batch, index):
        seen.append(batch[0].clone())
        step(self, batch, index)

    monkeypatch.setattr(VAETraining, "validation_step", keep)
    run(longer(experiment, 1), tmp_path / "x", splits)
    assert torch.equal(torch.cat(seen), splits["val"].images)


def test_scales_are_those_of_the_training_images(finished, splits):
    scales = json.loads((finished.folder / "accounting.json").read_text())["scales"]
    x = to_float(splits["train"].images)
    assert scales["pixel"] == pytest.approx((x - x.mean(dim=0)).square().mean().item(), rel=1e-4)


def test_the_gradient_of_every_parameter_flows(experiment, splits, monkeypatch):
    module = module_of(experiment, splits)
    monkeypatch.setattr(module, "log_dict", lambda *_, **__: None)
    module.training_step(first_batch(splits), 0).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for n, p in module.named_parameters() if "bias" not in n)
    assert {id(p) for p in module.parameters()} == {id(p) for p in module.vae.parameters()}


def test_warmup_reaches_the_whole_kl_weight(experiment, splits, monkeypatch, logs_every_step):
    module = module_of(replace(experiment, loss=replace(experiment.loss, kl_warmup_steps=4, alpha=10.0)), splits)
    logged = {}
    monkeypatch.setattr(module, "log_dict", lambda values, **_: logged.update(values))
    batch = first_batch(splits)
    for step, share in [(0, 0.25), (1, 0.5), (3, 1.0), (9, 1.0)]:
        monkeypatch.setattr(VAETraining, "global_step", step)
        module.training_step(batch, 0)
        rest = sum(w * logged[f"train/{n}"] for n, w in module.objective.weights.items() if n != "kl")
        torch.testing.assert_close(logged["train/total"], rest + share * 10 * logged["train/kl"])


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(experiment):
    a, b = build_vae(experiment), build_vae(experiment)
    other = build_vae(replace(experiment, training=replace(experiment.training, seed=1)))
    assert torch.equal(a.encoder.mu.weight, b.encoder.mu.weight)
    assert not torch.equal(a.encoder.mu.weight, other.encoder.mu.weight)


@pytest.mark.slow
def test_collapse_is_said(experiment, splits, tmp_path, monkeypatch):
    monkeypatch.setattr("dfcvae.training.callbacks.PATIENCE_STEPS", 4)
    collapsed = replace(experiment, loss=replace(experiment.loss, alpha=100.0))
    with pytest.warns(UserWarning, match=r"The posterior has collapsed: KL .* nats.*Lower loss.alpha"):
        run(longer(collapsed, 3), tmp_path / "x", splits)


def test_ema_is_what_is_evaluated_and_loaded(experiment, splits, tmp_path):
    experiment = replace(experiment, training=replace(experiment.training, ema_decay=0.5))
    run(experiment, tmp_path / "x", splits)
    state = last(tmp_path / "x")["state_dict"]
    assert not torch.equal(state["ema.module.encoder.mu.weight"], state["vae.encoder.mu.weight"])
    best = torch.load(tmp_path / "x/checkpoints/best.ckpt", weights_only=True)["state_dict"]
    assert torch.equal(VAE.load(tmp_path / "x").encoder.mu.weight, best["ema.module.encoder.mu.weight"])


def test_ema_follows_its_recursion_and_forgets_the_first_steps_faster(experiment, splits, monkeypatch):
    module = module_of(replace(experiment, training=replace(experiment.training, ema_decay=0.9)), splits)
    weight = module.vae.encoder.mu.weight
    expected = weight.detach().clone()
    for step in (1, 2, 90, 500):
        monkeypatch.setattr(type(module), "global_step", step)
        with torch.no_grad():
            weight += 1.0
        module.on_train_batch_end(None, first_batch, 0)
        decay = {1: 0.0, 2: 2 / 12, 90: 0.9, 500: 0.9}[step]  # the very first is a copy
        expected = decay * expected + (1 - decay) * weight.detach()
    torch.testing.assert_close(module.evaluated.encoder.mu.weight, expected)
    assert module.evaluated is not module.vae
    module.vae.encoder.trunk[1].running_mean += 1
    module.on_train_batch_end(None, first_batch, 0)
    torch.testing.assert_close(module.evaluated.encoder.trunk[1].running_mean, torch.full((32,), 0.1))


def test_a_step_in_parts_has_the_gradient_of_the_whole(experiment, splits, monkeypatch):
    """Up to the batch norms' statistics, which are those of a part: here both parts are the same images."""
    batch = first_batch(splits)
    half = Batch(batch.images[:8], batch.attributes[:8])
    twice = Batch(*(torch.cat([part, part]) for part in half[:2]))
    eps = torch.randn(8, 8)
    gradients = []
    for parts, given in ((1, [twice]), (2, [half, half])):
        module = module_of(replace(experiment, training=replace(experiment.training, parts=parts)), splits)
        monkeypatch.setattr(module, "noise", lambda *_: torch.cat([eps, eps]))
        sum(module.training_step(part, i) / parts for i, part in enumerate(given)).backward()
        gradients.append(module.vae.decoder.project.weight.grad)
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


def test_each_part_of_a_step_has_noise_of_its_own_and_the_average_moves_once(experiment, splits, monkeypatch):
    training = replace(experiment.training, parts=2, ema_decay=0.5)
    module = module_of(replace(experiment, training=training), splits)
    step, noises = module.trained_step, []
    monkeypatch.setattr(
        module, "trained_step", lambda vae, batch, eps, *rest: noises.append(eps) or step(vae, batch, eps, *rest)
    )
    batch = first_batch(splits)
    for i in range(2):
        module.training_step(Batch(batch.images[8 * i : 8 * i + 8], batch.attributes[:8]), i)
        module.on_train_batch_end(None, batch, i)
    assert torch.equal(torch.cat(noises), module.noise(Stream.TRAIN_NOISE, 0, 16))
    assert int(module.ema.n_averaged) == 1


def test_the_learning_rate_warms_up(experiment, splits):
    module = module_of(replace(experiment, training=replace(experiment.training, warmup_steps=4)), splits)
    assert [module._rate(step) for step in (0, 1, 3, 9)] == [0.25, 0.5, 1.0, 1.0]
    cosine = replace(experiment.training, warmup_steps=4, schedule="cosine", epochs=4)
    module = module_of(replace(experiment, training=cosine), splits)
    assert module._rate(0) == pytest.approx(0.25)
    assert module._rate(8) == pytest.approx(0.5)


def test_automatic_precision_is_that_of_the_hardware(monkeypatch):
    cpu = torch.device("cpu")
    for supported, expected in ((True, "bf16-mixed"), (False, "32-true")):
        for check in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
            monkeypatch.setattr(torch.cpu, check, lambda supported=supported: supported, raising=False)
        assert pick_precision("auto", cpu) == expected
        assert pick_precision("32-true", cpu) == "32-true"


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_a_compiled_step_is_the_step(experiment, splits):
    batch, values = first_batch(splits), []
    for compiled in (False, True):
        module = module_of(replace(experiment, training=replace(experiment.training, compile=compiled)), splits)
        loss = module.training_step(batch, 0)
        loss.backward()
        values.append((loss.detach(), module.vae.decoder.project.weight.grad))
    torch.testing.assert_close(values[0], values[1])


@pytest.mark.slow
def test_a_logged_row_is_of_its_own_step_and_of_all_its_parts(experiment, splits, tmp_path, monkeypatch):
    """Every tenth row and the last: 12 steps of 4 an epoch, in one part and in two."""
    seen = []
    total = VAETraining.training_step

    def watched(self, batch, index):
        loss = total(self, batch, index)
        seen.append((self.global_step, float(loss.detach())))
        return loss

    monkeypatch.setattr(VAETraining, "training_step", watched)
    for parts in (1, 2):
        seen.clear()
        changed = replace(experiment, training=replace(experiment.training, parts=parts, epochs=3))
        result = run(changed, tmp_path / str(parts), splits)
        with (result.folder / "metrics.csv").open() as file:
            rows = {int(row["step"]): float(row["train/total"]) for row in csv.DictReader(file) if row["train/total"]}
        assert list(rows) == [9, 11]
        for step, logged in rows.items():
            losses = [loss for at, loss in seen if at == step]
            assert len(losses) == parts
            assert logged == pytest.approx(sum(losses) / parts, rel=1e-5)


def test_max_steps_stops_early(experiment, splits, tmp_path):
    result = run(replace(experiment, training=replace(experiment.training, max_steps=3)), tmp_path / "x", splits)
    assert last(tmp_path / "x")["global_step"] == 3
    assert VAE.load(tmp_path / "x").image_shape == (3, 32, 32)
    assert "val/total" in result.metrics


@pytest.mark.parametrize("schedule", ["exponential", "cosine"])
def test_schedules(schedule, experiment, splits):
    training = replace(experiment.training, schedule=schedule, decay=0.5, epochs=3)
    module = module_of(replace(experiment, training=training), splits)
    rates = [module._rate(step) for step in range(13)]
    if schedule == "exponential":
        assert rates == [1] * 4 + [0.5] * 4 + [0.25] * 4 + [0.125]
    else:
        assert rates[0] == 1
        assert rates[6] == pytest.approx(0.5)
        assert rates[12] == pytest.approx(0)


@pytest.mark.slow
def test_a_resumed_run_goes_on_in_its_run_of_wandb(experiment, splits, tmp_path):
    pytest.importorskip("wandb")
    plain = replace(experiment, loss=replace(experiment.loss, features=None))
    plain = replace(plain, training=replace(plain.training, logger="wandb", epochs=1))
    run(plain, tmp_path / "x", splits)
    run_id = (tmp_path / "x/wandb-id").read_text().strip()
    run(longer(plain, 2), tmp_path / "x", splits, resume=True)
    run(plain, tmp_path / "y", splits)
    other_id = (tmp_path / "y/wandb-id").read_text().strip()
    parts = [path.name for path in (tmp_path / "x/wandb").glob("offline-run-*")]
    assert len(parts) == 2
    assert all(name.endswith(f"-{run_id}") for name in parts)
    assert other_id != run_id


def test_metrics_have_the_learning_rate_and_the_kl_weight_while_it_warms_up(experiment, splits, tmp_path):
    plain = replace(experiment, loss=replace(experiment.loss, features=None, kl_warmup_steps=10, alpha=0.5))
    plain = replace(plain, training=replace(plain.training, warmup_steps=4, schedule="exponential", decay=0.5))
    result = run(plain, tmp_path / "x", splits)
    with (result.folder / "metrics.csv").open() as file:
        (row,) = [row for row in csv.DictReader(file) if row["train/total"]]
    assert float(row["lr"]) == pytest.approx(0.5e-3)
    assert float(row["alpha"]) == pytest.approx(0.5 * 8 / 10)


def test_a_long_run_has_at_most_fifty_pictures_of_a_kind(splits, tmp_path):
    from dfcvae.training.callbacks import Pictures

    for every, epochs, most in ((1, 50, 50), (1, 51, 26), (1, 1000, 50), (3, 1000, 50), (1, 3, 3), (30, 1000, 34)):
        pictures = Pictures(splits["val"].images[:2], tmp_path, every, epochs, seed=0)
        drawn = [epoch for epoch in range(1, epochs + 1) if epoch % pictures.every == 0]
        assert most - 3 <= len(drawn) <= most
        assert pictures.every % every == 0


@pytest.mark.parametrize("logger", [pytest.param("wandb", marks=pytest.mark.slow), "tensorboard"])
def test_loggers_work_offline(logger, experiment, splits, tmp_path):
    pytest.importorskip(logger)
    run(replace(experiment, training=replace(experiment.training, logger=logger, epochs=1)), tmp_path / "x", splits)
    written = [path.name for path in (tmp_path / "x" / logger).rglob("*") if path.is_file()]
    expected = {"wandb": "samples", "tensorboard": "events.out.tfevents"}[logger]
    assert any(expected in name for name in written), written


def test_the_cost_counts_the_images_of_all_sessions_and_no_time_of_validation(experiment, splits, tmp_path):
    from dfcvae.training.cost import read_cost

    first = run(experiment, tmp_path / "x", splits)
    before = read_cost(first.folder)
    steps = len(splits["train"]) // experiment.training.batch_size
    assert before["images"] == experiment.training.epochs * steps * experiment.training.batch_size
    assert 0 < before["training_seconds"] < before["total_seconds"]
    assert before["images_per_second"] == pytest.approx(before["images"] / before["training_seconds"], rel=0.02)
    assert before["peak_memory_mib"] > 100
    train(longer(experiment, 2 * experiment.training.epochs), first.folder, resume=True, splits=splits, progress=False)
    after = read_cost(first.folder)
    assert after["images"] == 2 * before["images"]
    assert after["training_seconds"] > before["training_seconds"]
    assert after["total_seconds"] > before["total_seconds"]


def test_a_run_without_a_cost_file_has_no_cost(tmp_path):
    from dfcvae.training.cost import read_cost

    assert read_cost(tmp_path) == {}
