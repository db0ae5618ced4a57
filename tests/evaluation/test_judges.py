"""Judges that are not attribute networks, against naive computations with torchvision's own network and NumPy."""

import hashlib
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import cosine_similarity
from torchvision.models import resnet18, squeezenet1_1

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.evaluation import NetworkJudge, measure
from dfcvae.evaluation.judges import AT_ONCE, JudgeFile, stranger_of
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.report.observers import Judge, Observers, judge_warnings
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment

ROOT = Path(__file__).parents[2]
LAYERS = ["features.1", "features.3", "features.12"]
IMAGENET = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIZE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of SqueezeNet with random weights that differ from place to place: safetensors and PyTorch."""
    folder = tmp_path_factory.mktemp("judges")
    torch.manual_seed(3)
    network = squeezenet1_1(weights=None)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.bias, std=0.05)
    save_file(network.state_dict(), folder / "squeezenet.safetensors")
    torch.save(network.state_dict(), folder / "squeezenet.pth")
    return folder


@pytest.fixture
def plain():
    """What the YAML file of such a judge holds."""
    network = {"network": "squeezenet1_1", "weights": "squeezenet.safetensors", "layers": LAYERS}
    return {"name": "squeeze", **network, "size": SIZE, "channels": "RGB", "range": 1, **IMAGENET}


def described(folder, fields, name="judge.yaml"):
    file = folder / name
    file.write_text(yaml.safe_dump(fields))
    return file


@pytest.fixture
def judge(folder, plain):
    return NetworkJudge.load(described(folder, plain))


@pytest.fixture(scope="module")
def network(folder):
    """torchvision's own network with these weights."""
    network = squeezenet1_1(weights=None)
    network.load_state_dict(torch.load(folder / "squeezenet.pth"))
    return network.eval()


def normalised(x):
    return (x - torch.tensor(IMAGENET["mean"]).view(3, 1, 1)) / torch.tensor(IMAGENET["std"]).view(3, 1, 1)


@torch.no_grad()
def pooled(network, x):
    return network.features(x).mean(dim=(2, 3))


def faces(n=6, size=SIZE, channels=3):
    """Smooth pictures that differ."""
    small = torch.rand(n, channels, 5, 5)
    return nn.functional.interpolate(small, (size, size), mode="bicubic").clamp(0, 1)


@torch.no_grad()
def naive_distance(network, a, b):
    """What the modules give, one after the other, before anything overwrites it."""
    total, h, g = torch.zeros(len(a)), normalised(a), normalised(b)
    for index, module in enumerate(network.features):
        h, g = module(h.clone()), module(g.clone())
        if f"features.{index}" in LAYERS:
            u, v = (y / y.square().sum(dim=1, keepdim=True).sqrt().clamp(min=1e-10) for y in (h, g))
            total += (u - v).square().sum(dim=1).mean(dim=(1, 2))
    return total


def test_cosine_and_distance_are_those_of_pytorch_and_a_loop_on_torchvisions_network(judge, network):
    x, x_hat, strangers = faces(2), faces(2), faces(2)
    found = judge.compare(x_hat, x, strangers)
    e, e_hat, other = (pooled(network, normalised(images)) for images in (x, x_hat, strangers))
    wanted = {
        "squeeze/cosine": cosine_similarity(e_hat, e),
        "squeeze/distance": naive_distance(network, x_hat, x),
        "squeeze/cosine_strangers": cosine_similarity(other, e),
        "squeeze/distance_strangers": naive_distance(network, strangers, x),
    }
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=0)
    assert (found["squeeze/distance"] > 0.01).all()
    assert judge.embed(x).shape == (2, 512)


def test_the_values_of_an_image_do_not_depend_on_the_other_images(judge):
    x, x_hat = faces(AT_ONCE + 2), faces(AT_ONCE + 2)
    together = judge.compare(x_hat, x, x_hat.flip(0))
    for n in (0, AT_ONCE):
        alone = judge.compare(x_hat[n : n + 1], x[n : n + 1], x_hat.flip(0)[n : n + 1])
        for name, values in together.items():
            torch.testing.assert_close(values[n : n + 1], alone[name], atol=1e-5, rtol=1e-4)


def test_bgr_range_mean_and_std_are_those_of_numpy(folder, plain):
    caffe = {"channels": "BGR", "range": 255, "mean": [104, 117, 123], "std": [1, 2, 4]}
    judge = NetworkJudge.load(described(folder, plain | caffe))
    x = faces(3)
    rgb = (x.numpy() * 255).transpose(0, 2, 3, 1)
    wanted = ((rgb[..., ::-1] - np.array([104, 117, 123])) / np.array([1, 2, 4])).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(judge.prepare(x).numpy(), wanted, atol=1e-3)


def test_images_are_cropped_then_resized_as_pillow_does_it(folder, plain):
    judge = NetworkJudge.load(described(folder, plain | {"crop": 0.75, "mean": [0, 0, 0], "std": [1, 1, 1]}))
    for size in (32, 128):
        x = (faces(1, size) * 255).round() / 255
        side, start = size * 3 // 4, size // 8
        picture = Image.fromarray((x[0] * 255).round().to(torch.uint8).permute(1, 2, 0).numpy())
        box = (start, start, start + side, start + side)
        wanted = np.asarray(picture.crop(box).resize((SIZE, SIZE), Image.Resampling.BILINEAR)) / 255
        found = judge.prepare(x)[0].permute(1, 2, 0).numpy()
        assert abs(found - wanted).max() < 1.5 / 255


def test_a_judge_takes_grey_images_needs_no_gradient_and_draws_no_random_numbers(folder, plain):
    before = torch.random.get_rng_state()
    judge = NetworkJudge.load(described(folder, plain))
    assert torch.equal(torch.random.get_rng_state(), before)
    grey = faces(2, 32, 1).requires_grad_()
    embedding = judge.embed(grey)
    assert not embedding.requires_grad
    torch.testing.assert_close(embedding, judge.embed(grey.expand(-1, 3, -1, -1)))


def test_other_classifiers_numbers_of_classes_and_embeddings(tmp_path, plain):
    """ResNet adds to the output of ``bn2`` in place; its embedding is what the classifying layer takes in."""
    torch.manual_seed(0)
    network = resnet18(weights=None, num_classes=7).eval()
    torch.save(network.half().state_dict(), tmp_path / "resnet.pth")
    network.float()
    fields = plain | {"network": "resnet18", "weights": "resnet.pth", "layers": ["layer1.0.bn2"]}
    judge = NetworkJudge.load(described(tmp_path, fields))
    x = faces(3)
    embedding, layers = judge.see(x)
    with torch.no_grad():
        h = network.maxpool(network.relu(network.bn1(network.conv1(normalised(x)))))
        block = network.layer1[0]
        wanted = block.bn2(block.conv2(block.relu(block.bn1(block.conv1(h)))))
        for name in ("layer1", "layer2", "layer3", "layer4"):
            h = getattr(network, name)(h)
    torch.testing.assert_close(layers["layer1.0.bn2"], wanted, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(embedding, h.mean(dim=(2, 3)), atol=1e-4, rtol=1e-4)
    named = NetworkJudge.load(described(tmp_path, fields | {"embedding": "layer3"}))
    assert named.embed(x).shape == (3, 256)
    assert "squeeze/distance" not in NetworkJudge.load(described(tmp_path, fields | {"layers": []})).compare(x, x, x)


def onnx_file(path, batch="N", size=SIZE):
    """A small convolutional network with two outputs, and the same in PyTorch."""
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(1)
    convolution, linear = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 5)
    graph = f"""
        <ir_version: 8, opset_import: ["": 13]>
        judge (float[{batch},3,{size},{size}] x) => (float[{batch},5] e, float[N,8,H,W] r)
        {{
            h = Conv<kernel_shape=[3,3], strides=[2,2]>(x, w, b)
            r = Relu(h)
            p = GlobalAveragePool(r)
            f = Flatten(p)
            e = Gemm<transB=1>(f, v, c)
        }}
    """
    model, tensors = onnx.parser.parse_model(graph), [convolution.weight, convolution.bias, linear.weight, linear.bias]
    for name, tensor in zip("wbvc", tensors, strict=True):
        model.graph.initializer.append(onnx.numpy_helper.from_array(tensor.detach().numpy(), name))
    onnx.save(model, path)

    def network(x):
        with torch.no_grad():
            r = convolution(x).relu()
            return linear(r.mean(dim=(2, 3))), r

    return network


@pytest.fixture
def of_onnx(plain):
    pytest.importorskip("onnxruntime")
    del plain["network"], plain["weights"], plain["layers"]
    return plain | {"name": "face", "onnx": "judge.onnx"}


@pytest.mark.parametrize("batch", ["N", 1])
def test_an_onnx_file_gives_what_the_same_network_gives_in_pytorch(tmp_path, of_onnx, batch):
    network = onnx_file(tmp_path / "judge.onnx", batch)
    judge = NetworkJudge.load(described(tmp_path, of_onnx | {"layers": ["r"]}))
    x, x_hat = faces(6), faces(6)
    embedding, activations = judge.see(x)
    (e, r), (e_hat, _) = network(normalised(x)), network(normalised(x_hat))
    torch.testing.assert_close(embedding, e, atol=1e-4, rtol=0)
    torch.testing.assert_close(activations["r"], r, atol=1e-4, rtol=0)
    found = judge.compare(x_hat, x, x)
    torch.testing.assert_close(found["face/cosine"], cosine_similarity(e_hat, e), atol=1e-4, rtol=0)
    pooled = NetworkJudge.load(described(tmp_path, of_onnx | {"embedding": "r"}))
    torch.testing.assert_close(pooled.embed(x), r.mean(dim=(2, 3)), atol=1e-4, rtol=0)


def test_onnx_files_that_are_something_else(tmp_path, of_onnx, monkeypatch):
    def refused(match, **fields):
        with pytest.raises(UserError, match=match):
            NetworkJudge.load(described(tmp_path, of_onnx | fields))

    refused(r"judge.yaml: onnx: no file at .*judge.onnx; paths are relative to the YAML")
    (tmp_path / "judge.onnx").write_bytes(b"something else")
    refused(r"judge.yaml: onnx: onnxruntime cannot load .*judge.onnx: ")
    onnx_file(tmp_path / "judge.onnx", size=48)
    refused(r"judge.yaml: onnx: .*judge.onnx does not take images of \[1, 3, 64, 64\]: ")
    refused(r"layers: judge.onnx \(outputs: e, r\) has no output 'z'", layers=["z"])
    refused(r"embedding: judge.onnx \(outputs: e, r\) has no output 'z'", embedding="z")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    refused(r'judge.yaml: onnx: onnxruntime is not installed; run pip install -e ".\[onnx]"')


WRONG = [
    ({"size": 100000}, r"size: expected an integer from 1 to 4096, got 100000\."),
    ({"size": 8}, r"size: squeezenet1_1 does not take 8 pixels: "),
    ({"name": "a b"}, r"name: expected up to 20 letters, digits, - or _, a letter first, got 'a b'\."),
    ({"name": "judge"}, r"name: expected none of judge, inception, .* got 'judge'\."),
    ({"channels": "GBR"}, r"channels: expected one of RGB, BGR .* got 'GBR'\."),
    ({"range": 2}, r"range: expected one of 1, 255, got 2\."),
    ({"mean": None}, r"mean: missing; every judge needs name, size, channels, range, mean, std\."),
    ({"mean": [0, 0]}, r"mean: expected 3 entries, got \[0, 0\]\."),
    ({"mean": [0, 0, float("nan")]}, r"mean: expected a finite number for each entry, got \[0, 0, nan\]\."),
    ({"std": [1, 1, 0]}, r"std: expected a number above 0 for each entry, got \[1, 1, 0\]\."),
    ({"crop": 1.5}, r"crop: expected a fraction above 0 and at most 1 or null, got 1\.5\."),
    ({"layers": "features.1"}, r"layers: expected a list, got 'features.1'\."),
    ({"layers": ["feature.1"]}, r"layers: squeezenet1_1 has no module 'feature.1' \(did you mean 'features.1'\?\)\."),
    ({"embedding": "pool"}, r"embedding: squeezenet1_1 has no module 'pool'"),
    ({"network": "squeezenet1_2"}, r"network: 'squeezenet1_2' is not a classif.* \(did you mean 'squeezenet1_1'"),
    ({"network": None}, r"network: expected either network \(torchvision\) or onnx \(a file\), got None\."),
    ({"network": None, "onnx": "x.onnx"}, r"weights: expected a file or imagenet, with network only, got 'squeezenet"),
    ({"weights": "none.pth"}, r"weights: no file at .*none.pth; paths are relative to the YAML file\."),
    ({"network": "resnet18"}, r"weights: .*squeezenet.safetensors does not hold resnet18: Missing key"),
    ({"sizes": 3}, r"sizes: unknown field \(did you mean 'size'\?\); the fields are "),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_bad_values_are_told_by_field(folder, plain, change, said):
    with pytest.raises(UserError) as error:
        NetworkJudge.load(described(folder, plain | change))
    assert re.match(rf"{re.escape(str(folder / 'judge.yaml'))}: {said}", str(error.value)), error.value


def test_files_that_are_not_judges_and_the_examples_that_are(tmp_path):
    with pytest.raises(UserError, match=r"There is no file .*judge.yaml; name a judge description as in experiments/j"):
        NetworkJudge.load(tmp_path / "judge.yaml")
    (tmp_path / "judge.yaml").write_text("- 1")
    with pytest.raises(UserError, match=r"judge.yaml: expected fields \(name: value\), such as name, size, "):
        NetworkJudge.load(tmp_path / "judge.yaml")
    for name in ("squeezenet", "squeezenet-caffe", "face"):
        file = ROOT / "experiments" / "judges" / f"{name}.yaml"
        assert JudgeFile.of(yaml.safe_load(file.read_text()), file.parent).name == name


def test_strangers_are_another_image_for_each():
    for n in (2, 3, 4, 5, 24, 500):
        other = stranger_of(torch.arange(n), n)
        assert sorted(other.tolist()) == list(range(n))
        assert (other != torch.arange(n)).all()
    assert torch.equal(stranger_of(torch.arange(4, 9), 24), torch.arange(12, 17))


def test_measures_hold_a_value_for_every_image_whatever_the_batches(judge, splits):
    vae, test = VAE("hou2016", 32, 3, 8).eval(), splits["test"]
    found = measure(vae, test, judges=[judge], batch_size=7)
    x = to_float(test.images)
    wanted = judge.compare(vae.reconstruct(x), x, x.roll(-8, 0))  # a third of 24 later
    names = ("cosine", "distance", "cosine_strangers", "distance_strangers")
    assert list(wanted) == [f"squeeze/{name}" for name in names]
    for name, values in wanted.items():
        torch.testing.assert_close(found.per_image[name], values, atol=1e-5, rtol=1e-4)
        low, high = found.intervals()[name]
        assert low < found.values()[name] < high


def test_judges_are_told_apart(folder, plain, tmp_path):
    same = [described(folder, plain, name) for name in ("one.yaml", "two.yaml")]
    for files, said in (
        (same, "name: two judges are called 'squeeze'; give each YAML file another name"),
        (Path("x.onnx"), r"x\.onnx: an ONNX network needs a YAML file that says how it takes images"),
        ([Path("a.safetensors"), Path("b.pth")], r"expected at most one attribute network, got a.safetensors, b.pth"),
    ):
        with pytest.raises(UserError, match=said):
            Observers.load(files, None, False)


def attribute_network(path, seed):
    torch.manual_seed(seed)
    return AttributeNetwork("vgg11_bn", 1 / 16, ("Male", "Smiling")).save(path)


def test_a_judge_that_learned_what_the_loss_learned_is_told(judge, tmp_path):
    loss, other = (attribute_network(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    observers = Observers(Judge.load(other, "cpu"), judges=[judge])

    def trained_with(weights):
        return {"loss": {"features": {"weights": str(weights)} if weights else None}}

    models = {"a": trained_with(loss), "b": trained_with(None), "c": trained_with(loss), "d": None}
    itself = {"a": trained_with(other)}
    for seen, trained, start, end in (
        (observers, models, "The attribute-trained judge and the loss's feature network learned the same", "(a, c)."),
        (observers, itself, "The attribute-trained judge is the loss's own feature network", "(a)."),
        (Observers(judges=[judge]), {"a": trained_with(judge.file)}, "The judge squeeze is the loss's own", "(a)."),
    ):
        (told,) = judge_warnings(seen, trained)
        assert told.startswith(start)
        assert told.endswith(end)
    for weights in ("imagenet", "random", tmp_path / "gone.safetensors"):
        assert judge_warnings(observers, {"a": trained_with(weights)}) == []
    assert judge_warnings(Observers(), models) == []


def test_the_network_of_the_loss_is_known_in_another_format_or_cut_off(folder, judge, tmp_path):
    state = torch.load(folder / "squeezenet.pth")
    save_file(dict(list(state.items())[:4]), tmp_path / "cut.safetensors")
    trained = {"a": {"loss": {"features": {"weights": tmp_path / "cut.safetensors"}}}}
    (told,) = judge_warnings(Observers(judges=[judge]), trained)
    assert told.startswith("The judge squeeze is the loss's own feature network, so it favours what was trained with")
    assert "`dfcvae features train --data.source DATA --training.arch vgg11_bn --training.seed 1 --out judge." in told


def test_a_judge_near_chance_is_told_with_the_way_to_a_better_one(judge, tmp_path, splits, monkeypatch):
    untrained = Judge.load(attribute_network(tmp_path / "judge.safetensors", 0), "cpu")
    alike = lambda images: torch.ones(len(images), 3)  # noqa: E731
    with monkeypatch.context() as patch:
        patch.setattr(judge, "embed", alike)
        guesses, blind = judge_warnings(Observers(untrained, judges=[judge]), {}, splits["test"])
    assert re.match(r"The attribute-trained judge is near chance .* \(mean AUROC 0\.\d\d, guessing", guesses)
    assert "`--judge experiments/judges/squeezenet.yaml`, or an attribute network of your own: `dfcvae fea" in guesses
    assert blind.startswith("The judge squeeze does not distinguish people (cosine of two different people 1.000), so")
    names, test = untrained.network.names, splits["test"]
    truth = test.attributes[:, [test.names.index(name) for name in names]]
    monkeypatch.setattr(untrained.network, "logits", lambda faces: truth[: len(faces)].float())
    monkeypatch.setattr(judge, "embed", lambda images: images.flatten(1) - images.mean())
    assert judge_warnings(Observers(untrained, judges=[judge]), {}, test) == []


def test_evaluate_takes_a_judge_of_another_kind(folder, plain, splits, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dfcvae.data.load_faces", lambda *_, **__: splits)
    monkeypatch.chdir(tmp_path)
    loss = attribute_network(tmp_path / "features.safetensors", 0)
    experiment = tiny_experiment()
    features = replace(experiment.loss.features, weights=str(loss))
    config = replace(experiment, loss=replace(experiment.loss, features=features)).as_dict()
    vae = VAE("hou2016", 32, 3, 8).eval()
    vae.save(tmp_path / "one", config)
    mixture = Prior(torch.tensor([0.5, 0.5]), torch.randn(2, 8), torch.eye(8).expand(2, -1, -1))
    mixture.save(tmp_path / "one" / "latent" / "prior-gmm.safetensors", digest(vae), "synthetic")
    attribute_network(tmp_path / "judge.safetensors", 1)
    described(folder, plain)
    judges = ["--judge", "judge.safetensors", "--judge", str(folder / "judge.yaml")]
    assert main(["evaluate", *judges, "one", "--out", "metrics.json"]) == 0
    told = capsys.readouterr()
    assert "learned the same labels, so this judge cannot see what the loss ignores" in told.err
    for line in (
        r"squeeze/cosine +[-\d.e]+ +\[[-\d.e]+, [-\d.e]+\] +↑   likeness to the original\n",
        r"squeeze/distance_strangers +[-\d.e]+ +\[[-\d.e]+, [-\d.e]+\] +of two different people\n",
        r"features: attribute-trained judge +Frechet ↓ +kernel ↓ +precision ↑ +recall ↑\nfloor: validation faces +\d",
        r"features: squeeze +Frechet ↓ .*\nfloor.*\nsamples, N\(0, I\) .*\nsamples, fitted mixture .*\nreconstructions",
        r"judge: 'attribute-trained judge: vgg11_bn, width 0.0625'\n",
        r"  squeeze:\n    network: torchvision squeezenet1_1\n    sha256: \w{64}\n    input: full image;",
    ):
        assert re.search(line, told.out), line
    measures = json.loads(Path("metrics.json").read_text())
    judge = NetworkJudge.load(folder / "judge.yaml")
    for kind in ("samples", "samples_gmm", "reconstructions", "floor"):
        assert f"{kind}/frechet_squeeze" in measures
    assert measures["samples_gmm/frechet_judge"] > 0
    card = measures["protocol"]
    assert card["judges"]["squeeze"] == judge.card()
    assert judge.card()["layers"] == LAYERS
    assert judge.card()["sha256"] == hashlib.sha256((folder / "squeezenet.safetensors").read_bytes()).hexdigest()
    fitted = "what was fitted to the latents: mixture of 2 Gaussians with one covariance"
    assert card["samples"] == f"24 in each set, from N(0, I) and from {fitted}"
    assert str(folder) not in json.dumps(card)
