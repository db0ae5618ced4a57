"""Judges that are not attribute networks, against naive computations with torchvision's own network and NumPy."""

import json
import re
import sys
import zipfile
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

from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.evaluation import NetworkJudge, measure
from dfcvae.evaluation.judge_file import JudgeFile, torchvision_classifiers
from dfcvae.evaluation.judges import AT_ONCE, stranger_of
from dfcvae.images import to_float
from dfcvae.latent import Prior
from dfcvae.reports.measured import in_order, title, verdict
from dfcvae.reports.observers import Judge, Observers, partial_judges
from dfcvae.training import AttributeNetwork
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
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


def loaded(folder):
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


def test_the_cosine_is_that_of_pytorch_on_torchvisions_network(folder, plain):
    judge, network = NetworkJudge.load(described(folder, plain)), loaded(folder)
    x, x_hat, strangers = faces(), faces(), faces()
    found = judge.compare(x_hat, x, strangers)
    e, e_hat, other = (pooled(network, normalised(images)) for images in (x, x_hat, strangers))
    torch.testing.assert_close(found["squeeze/cosine"], cosine_similarity(e_hat, e), atol=1e-5, rtol=0)
    torch.testing.assert_close(found["squeeze/cosine_strangers"], cosine_similarity(other, e), atol=1e-5, rtol=0)
    assert judge.embed(x).shape == (6, 512)


@torch.no_grad()
def naive_distance(network, a, b):
    """A loop over layers and images of what the modules give, before anything overwrites it."""
    total = torch.zeros(len(a))
    for n in range(len(a)):
        h, g = normalised(a[n : n + 1]), normalised(b[n : n + 1])
        for index, module in enumerate(network.features):
            h, g = module(h.clone()), module(g.clone())
            if f"features.{index}" in LAYERS:
                for row in range(h.shape[2]):
                    for column in range(h.shape[3]):
                        u, v = h[0, :, row, column], g[0, :, row, column]
                        difference = u / u.norm().clamp(min=1e-10) - v / v.norm().clamp(min=1e-10)
                        total[n] += difference.square().sum() / (h.shape[2] * h.shape[3])
    return total


def test_the_distance_equals_a_loop(folder, plain):
    judge = NetworkJudge.load(described(folder, plain))
    x, x_hat = faces(2), faces(2)
    found = judge.compare(x_hat, x, x)
    torch.testing.assert_close(found["squeeze/distance"], naive_distance(loaded(folder), x_hat, x), atol=1e-4, rtol=0)
    assert (found["squeeze/distance"] > 0.01).all()


def test_a_layer_is_captured_before_a_relu_in_place_overwrites_it(folder, plain):
    judge = NetworkJudge.load(described(folder, plain | {"layers": ["features.0"]}))
    x = faces()
    seen = judge.see(x)[1]["features.0"]
    assert (seen < 0).any()
    torch.testing.assert_close(seen, loaded(folder).features[0](normalised(x)), atol=1e-5, rtol=0)


def test_the_distance_is_symmetric_and_zero_for_the_same_images(folder, plain):
    judge = NetworkJudge.load(described(folder, plain))
    x, x_hat = faces(), faces()
    there, back, same = (judge.compare(a, b, b) for a, b in ((x_hat, x), (x, x_hat), (x, x)))
    torch.testing.assert_close(there["squeeze/distance"], back["squeeze/distance"])
    assert torch.equal(same["squeeze/distance"], torch.zeros(6))
    torch.testing.assert_close(same["squeeze/cosine"], torch.ones(6))


def test_the_values_of_an_image_do_not_depend_on_the_other_images(folder, plain):
    judge = NetworkJudge.load(described(folder, plain))
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


def test_grey_images_are_judged_as_three_equal_channels(folder, plain):
    judge = NetworkJudge.load(described(folder, plain))
    grey = faces(2, 32, 1)
    torch.testing.assert_close(judge.embed(grey), judge.embed(grey.expand(-1, 3, -1, -1)))


def test_the_network_is_frozen_and_changes_nothing_else(folder, plain):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    judge = NetworkJudge.load(described(folder, plain))
    assert torch.equal(torch.random.get_rng_state(), before)
    network = judge.network.network
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    x = faces(2).requires_grad_()
    assert not judge.embed(x).requires_grad
    assert torch.equal(judge.embed(x), judge.embed(x))


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
    tensors = {"w": convolution.weight, "b": convolution.bias, "v": linear.weight, "c": linear.bias}
    node = onnx.helper.make_node
    graph = onnx.helper.make_graph(
        [
            node("Conv", ["x", "w", "b"], ["h"], kernel_shape=[3, 3], strides=[2, 2]),
            node("Relu", ["h"], ["r"]),
            node("GlobalAveragePool", ["r"], ["p"]),
            node("Flatten", ["p"], ["f"]),
            node("Gemm", ["f", "v", "c"], ["e"], transB=1),
        ],
        "judge",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [batch, 3, size, size])],
        [
            onnx.helper.make_tensor_value_info("e", onnx.TensorProto.FLOAT, [batch, 5]),
            onnx.helper.make_tensor_value_info("r", onnx.TensorProto.FLOAT, None),
        ],
        [onnx.numpy_helper.from_array(tensor.detach().numpy(), name) for name, tensor in tensors.items()],
    )
    opset = [onnx.helper.make_opsetid("", 13)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=8), path)

    def network(x):
        with torch.no_grad():
            r = convolution(x).relu()
            return linear(r.mean(dim=(2, 3))), r

    return network


@pytest.fixture
def of_onnx(plain):
    pytest.importorskip("onnxruntime")
    return {key: value for key, value in plain.items() if key not in ("network", "weights", "layers")} | {
        "name": "face",
        "onnx": "judge.onnx",
    }


@pytest.mark.parametrize("batch", ["N", 1, 4])
def test_an_onnx_file_gives_what_the_same_network_gives_in_pytorch(tmp_path, of_onnx, batch):
    network = onnx_file(tmp_path / "judge.onnx", batch)
    layers = [] if batch == 4 else ["r"]
    judge = NetworkJudge.load(described(tmp_path, of_onnx | {"layers": layers}))
    x, x_hat = faces(6), faces(6)
    embedding, activations = judge.see(x)
    (e, r), (e_hat, _) = network(normalised(x)), network(normalised(x_hat))
    torch.testing.assert_close(embedding, e, atol=1e-4, rtol=0)
    if layers:
        torch.testing.assert_close(activations["r"], r, atol=1e-4, rtol=0)
    found = judge.compare(x_hat, x, x)
    torch.testing.assert_close(found["face/cosine"], cosine_similarity(e_hat, e), atol=1e-4, rtol=0)
    pooled = NetworkJudge.load(described(tmp_path, of_onnx | {"embedding": "r"}))
    torch.testing.assert_close(pooled.embed(x), r.mean(dim=(2, 3)), atol=1e-4, rtol=0)


def test_without_onnxruntime_the_error_says_what_to_install(tmp_path, of_onnx, monkeypatch):
    (tmp_path / "judge.onnx").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        UserError, match=r'judge.yaml: onnx: onnxruntime is not installed; run pip install -e ".\[onnx]"'
    ):
        NetworkJudge.load(described(tmp_path, of_onnx))


def test_onnx_files_that_are_something_else(tmp_path, of_onnx):
    file = described(tmp_path, of_onnx)
    with pytest.raises(UserError, match=r"judge.yaml: onnx: no file at .*judge.onnx; paths are relative to the YAML"):
        NetworkJudge.load(file)
    (tmp_path / "judge.onnx").write_bytes(b"something else")
    with pytest.raises(UserError, match=r"judge.yaml: onnx: onnxruntime cannot load .*judge.onnx: "):
        NetworkJudge.load(file)
    onnx_file(tmp_path / "judge.onnx", size=48)
    with pytest.raises(UserError, match=r"judge.yaml: onnx: .*judge.onnx does not take images of 1 x 3 x 64 x 64: "):
        NetworkJudge.load(file)
    for fields, said in (({"layers": ["z"]}, "layers: "), ({"embedding": "z"}, "embedding: ")):
        with pytest.raises(UserError, match=rf"{said}judge.onnx has no output 'z'; its outputs: e, r\."):
            NetworkJudge.load(described(tmp_path, of_onnx | fields))


WRONG = [
    ({"size": -3}, r"size: expected a positive integer, 4096 at most, got -3\."),
    ({"size": True}, r"size: expected a positive integer, 4096 at most, got True\."),
    ({"size": 64.0}, r"size: expected a positive integer, 4096 at most, got 64\.0\."),
    ({"size": 100000}, r"size: expected a positive integer, 4096 at most, got 100000\."),
    ({"name": "a b"}, r"name: expected 1 to 20 letters, digits, - or _, a letter first, .* got 'a b'\."),
    ({"name": "judge"}, r"name: expected .* and not judge, inception, .* got 'judge'\."),
    ({"channels": "GBR"}, r"channels: expected RGB or BGR, got 'GBR'\."),
    ({"range": 2}, r"range: expected 1 or 255, the value of white, got 2\."),
    ({"mean": 0.5}, r"mean: expected three numbers, one for each channel, got 0\.5\."),
    ({"mean": [0, 0]}, r"mean: expected three numbers, one for each channel, got \[0, 0\]\."),
    ({"mean": [0, 0, float("nan")]}, r"mean: expected three numbers, .* got \[0, 0, nan\]\."),
    ({"mean": [0, 0, 10**400]}, r"mean: expected three numbers, one for each channel, got \[0, 0, 10"),
    ({"layers": [["features.1"]]}, r"layers: expected a list of names, each once, got "),
    ({"std": [1, 1, 0]}, r"std: expected three numbers above 0, one for each channel, got \[1, 1, 0\]\."),
    ({"crop": 1.5}, r"crop: expected a fraction above 0 and at most 1, or null, got 1\.5\."),
    ({"layers": "features.1"}, r"layers: expected a list of names, each once, got 'features.1'\."),
    ({"layers": ["a", "a"]}, r"layers: expected a list of names, each once, got \['a', 'a'\]\."),
    ({"layers": ["feature.1"]}, r"layers: squeezenet1_1 has no module 'feature.1' \(did you mean 'features.1'\?\)\."),
    ({"embedding": "pool"}, r"embedding: squeezenet1_1 has no module 'pool'"),
    ({"embedding": 3}, r"embedding: expected a name, or null, got 3\."),
    (
        {"network": "squeezenet1_2"},
        r"network: 'squeezenet1_2' is not a classification .* \(did you mean 'squeezenet1_1'",
    ),
    ({"network": None}, r"network: expected either network and weights \(torchvision\) or onnx \(a file\)\."),
    ({"onnx": "x.onnx"}, r"network: expected either network and weights \(torchvision\) or onnx \(a file\)\."),
    ({"network": None, "onnx": "x.onnx"}, r"weights: expected none beside onnx; the ONNX file holds its own\."),
    ({"weights": None}, r"weights: expected a file with the state dict of squeezenet1_1, or imagenet\."),
    ({"weights": "none.pth"}, r"weights: no file at .*none.pth; paths are relative to the YAML file\."),
    ({"network": "resnet18"}, r"weights: .*squeezenet.safetensors does not hold resnet18: Missing key"),
    ({"colour": "RGB"}, r"colour: unknown field; the fields are name, size, channels, "),
    ({"sizes": 3}, r"sizes: unknown field \(did you mean 'size'\?\); the fields are "),
    ({"size": 8}, r"size: squeezenet1_1 does not take images of 8 x 8 pixels: "),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=lambda value: str(value)[:40])
def test_bad_values_are_told_by_field(folder, plain, change, said):
    with pytest.raises(UserError) as error:
        NetworkJudge.load(described(folder, plain | change))
    assert re.match(rf"{re.escape(str(folder / 'judge.yaml'))}: {said}", str(error.value)), error.value


def test_files_that_are_not_judges(tmp_path, plain):
    with pytest.raises(UserError, match=r"No judge description at .*none.yaml; experiments/judges holds examples\."):
        JudgeFile.read(tmp_path / "none.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UserError, match=r"list.yaml: expected fields \(name: value\), such as name, size, "):
        JudgeFile.read(tmp_path / "list.yaml")
    (tmp_path / "twice.yaml").write_text("name: a\nname: b\n")
    with pytest.raises(UserError, match="has the field 'name' twice"):
        JudgeFile.read(tmp_path / "twice.yaml")
    del plain["mean"]
    with pytest.raises(UserError, match=r"judge.yaml: mean: missing; expected three numbers, one for each channel\."):
        JudgeFile.read(described(tmp_path, plain))


def test_the_examples_are_complete():
    files = sorted((ROOT / "experiments" / "judges").glob("*.yaml"))
    assert {file.stem for file in files} == {"squeezenet", "squeezenet-caffe", "face"}
    for file in files:
        assert JudgeFile.read(file).name == file.stem


def test_every_classifier_of_torchvision_is_known():
    assert {"alexnet", "resnet50", "convnext_tiny", "vit_b_16"} <= set(torchvision_classifiers())
    assert "fcn_resnet50" not in torchvision_classifiers()


def test_strangers_are_another_image_for_each():
    for n in (2, 3, 4, 5, 24, 500):
        other = stranger_of(torch.arange(n), n)
        assert sorted(other.tolist()) == list(range(n))
        assert (other != torch.arange(n)).all()
    assert torch.equal(stranger_of(torch.arange(4, 9), 24), torch.arange(12, 17))


def test_measures_hold_a_value_for_every_image_whatever_the_batches(folder, plain, splits):
    vae, test = VAE("hou2016", 32, 3, 8).eval(), splits["test"]
    judge = NetworkJudge.load(described(folder, plain))
    found = measure(vae, test, judges=[judge], batch_size=7)
    x = to_float(test.images)
    wanted = judge.compare(vae.reconstruct(x), x, x.roll(-8, 0))  # a third of 24 farther on
    assert list(wanted) == [
        f"squeeze/{name}" for name in ("cosine", "distance", "cosine_strangers", "distance_strangers")
    ]
    for name, values in wanted.items():
        torch.testing.assert_close(found.per_image[name], values, atol=1e-5, rtol=1e-4)
        low, high = found.intervals()[name]
        assert low < found.values()[name] < high


def test_measures_have_titles_a_direction_and_a_place():
    assert title("face/cosine") == "face: cosine of the embeddings of original and reconstruction (higher is better)"
    assert title("face/distance").endswith("(lower is better)")
    assert title("face/cosine_strangers") == "face: the same of two different people"
    assert verdict("face/cosine", 1, 2) == "better"
    assert verdict("face/distance", 1, 2) == "worse"
    assert verdict("face/cosine_strangers", 1, 2) == ""
    names = ["unknown", "kl", "face/cosine", "mse", "attribute_agreement"]
    assert in_order(names) == ["mse", "attribute_agreement", "face/cosine", "kl", "unknown"]


def test_judges_are_told_apart(folder, plain, tmp_path):
    one, two = described(folder, plain, "one.yaml"), described(folder, plain, "two.yaml")
    with pytest.raises(UserError, match="name: two judges are called 'squeeze'; give each YAML file another name"):
        Observers.load([one, two], None, False)
    with pytest.raises(UserError, match=r"x\.onnx: an ONNX network needs a YAML file that says how it takes images"):
        Observers.load(tmp_path / "x.onnx", None, False)
    with pytest.raises(
        UserError, match=r"expected at most one attribute network, got .*a.safetensors, .*b.safetensors"
    ):
        Observers.load([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], None, False)


def attribute_network(path, seed):
    torch.manual_seed(seed)
    return AttributeNetwork("vgg11_bn", 1 / 16, ("Male", "Smiling")).save(path)


def test_a_judge_that_learned_what_the_loss_learned_is_told(folder, plain, tmp_path):
    loss, other = (attribute_network(tmp_path / f"{seed}.safetensors", seed) for seed in (0, 1))
    squeeze = NetworkJudge.load(described(folder, plain))
    observers = Observers(Judge.load(other, "cpu"), judges=[squeeze])

    def trained_with(weights):
        return {"loss": {"features": {"weights": str(weights)} if weights else None}}

    blind = (
        "The attribute-trained judge and the loss's feature network learned the same labels, so this judge cannot see "
    )
    models = {"a": trained_with(loss), "b": trained_with(None), "c": trained_with(loss), "d": None}
    (told,) = partial_judges(observers, models)
    assert told.startswith(blind)
    assert told.endswith("(a, c).")
    (told,) = partial_judges(observers, {"a": trained_with(other)})
    assert told.startswith(
        "The attribute-trained judge is the loss's own feature network, so it favours what was trained"
    )
    (told,) = partial_judges(Observers(judges=[squeeze]), {"a": trained_with(squeeze.file)})
    assert told.startswith("The judge squeeze is the loss's own feature network")
    for weights in ("imagenet", "random", tmp_path / "gone.safetensors"):
        assert partial_judges(observers, {"a": trained_with(weights)}) == []
    assert partial_judges(Observers(), models) == []


def test_evaluate_and_compare_take_a_judge_of_another_kind(folder, plain, splits, tmp_path, monkeypatch, capsys):
    for module in ("data", "reports.comparison"):
        monkeypatch.setattr(f"dfcvae.{module}.load_faces", lambda *_, **__: splits)
    monkeypatch.chdir(tmp_path)
    loss = attribute_network(tmp_path / "features.safetensors", 0)
    experiment = tiny_experiment()
    features = replace(experiment.loss.features, weights=str(loss))
    config = replace(experiment, loss=replace(experiment.loss, features=features)).as_dict()
    for name, seed in (("one", 0), ("two", 1)):
        torch.manual_seed(seed)
        VAE("hou2016", 32, 3, 8).save(tmp_path / name, config)
    vae = VAE.load("one")
    mixture = Prior(torch.tensor([0.5, 0.5]), torch.randn(2, 8), torch.eye(8).expand(2, -1, -1))
    mixture.save(tmp_path / "one" / "latent" / "prior-gmm.safetensors", digest(vae), "synthetic")
    attribute_network(tmp_path / "judge.safetensors", 1)
    described(folder, plain)
    judges = ["--judge", "judge.safetensors", "--judge", str(folder / "judge.yaml")]
    assert main(["evaluate", *judges, "one", "--out", "metrics.json"]) == 0
    told = capsys.readouterr()
    assert "learned the same labels, so this judge cannot see what the loss ignores" in told.err
    for line in (
        r"squeeze/cosine +[-\d.e]+  \[[-\d.e]+, [-\d.e]+\]\n",
        r"squeeze/distance_strangers +[-\d.e]+  \[[-\d.e]+, [-\d.e]+\]\n",
        r"in the features of the attribute-trained judge, 24 images each\n",
        r"of the judge squeeze, 24 images each\n +Frechet distance +kernel distance +precision +recall\n"
        r"samples, N\(0, I\) +\d.*\nsamples, fitted mixture +\d.*\nreconstructions +\d.*\nfloor: validation faces +\d",
        r"judge +attribute-trained judge: vgg11_bn, width 0.0625\n",
        r"judge squeeze +network torchvision squeezenet1_1, sha256 [0-9a-f]{64}, input whole image; 64x64 antialiased",
    ):
        assert re.search(line, told.out), line
    measures = json.loads(Path("metrics.json").read_text())
    images = to_float(splits["test"].images)
    judge = NetworkJudge.load(folder / "judge.yaml")
    wanted = judge.compare(vae.reconstruct(images), images, images.roll(-8, 0))
    assert {name: measures[name] for name in wanted} == pytest.approx(
        {name: float(values.mean()) for name, values in wanted.items()}, rel=1e-4
    )
    assert {
        f"{kind}/frechet_squeeze" for kind in ("samples", "samples_gmm", "reconstructions", "floor")
    } <= measures.keys()
    assert measures["samples_gmm/frechet_judge"] > 0
    card = measures["protocol"]
    assert card["judges"]["squeeze"]["layers"] == LAYERS
    assert card["judges"]["squeeze"]["sha256"] == judge.sha256
    fitted = "what was fitted to the latents: mixture of 2 Gaussians with one covariance"
    assert card["samples"] == f"24 in each set, from N(0, I) and from {fitted}"
    assert str(folder) not in json.dumps(card)

    assert main(["compare", "one", "two", *judges]) == 0
    report = Path("comparison/report.md").read_text()
    assert "learned the same labels, so this judge cannot see what the loss ignores" in report
    assert "(one, two)." in report
    for row in (
        "| squeeze: cosine of the embeddings of original and reconstruction (higher is better) |",
        "| squeeze: the same of two different people |",
        "| one: samples, fitted mixture |",
        "Frechet distance (attribute-trained judge)",
        "precision (squeeze)",
    ):
        assert row in report, row
    differences = report[report.index("## Differences") : report.index("## Samples")]
    assert "squeeze: distance of the activations" in differences
    assert "two different people" not in differences


@pytest.mark.skipif(not (SHARED / "weights").is_dir(), reason="needs the weights in ../shared")
def test_to_squeezenet_strangers_are_farther_than_the_same_face_blurred(tmp_path):
    example = yaml.safe_load((ROOT / "experiments" / "judges" / "squeezenet-caffe.yaml").read_text())
    example["weights"] = str(SHARED / "weights" / "squeezenet1_1-caffe.safetensors")
    judge = NetworkJudge.load(described(tmp_path, example))
    album = SHARED / "celeba-18k" / "img_align_celeba.zip"
    if not album.is_file():
        pytest.skip("needs the faces in ../shared")
    with zipfile.ZipFile(album) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".jpg"))[:10]
        pictures = [Image.open(opened.open(name)).crop((15, 35, 163, 183)).resize((64, 64)) for name in names]
    x = torch.stack([torch.from_numpy(np.asarray(picture).copy()) for picture in pictures]).permute(0, 3, 1, 2) / 255
    found = judge.compare(nn.functional.avg_pool2d(x, 3, 1, 1), x, x.roll(1, 0))
    assert (found["squeezenet-caffe/distance"] < found["squeezenet-caffe/distance_strangers"]).all()
    assert found["squeezenet-caffe/cosine"].mean() > found["squeezenet-caffe/cosine_strangers"].mean() + 0.05
