"""Broken, odd and hostile configurations and weights of the feature network on the command line."""

from functools import partial

import pytest
import torch
from safetensors.torch import save_file

from tests import broken
from tests.bad_input import GIVEN, Case, cases, run
from tests.broken import CANARY
from tests.losses.test_properties import narrow

pytestmark = pytest.mark.usefixtures("desk")
EXPERIMENT = GIVEN / "tiny.yaml"
TRAIN = f"train {EXPERIMENT} --out run"


# Configurations; values out of range are in test_experiments.py.

FIELDS = r"expected fields \(name: value\)"
NO_FIELDS = r"tiny.yaml: expected fields \(name: value\), got"
ALIAS = r"tiny.yaml contains an alias \(\*\) or more than 20 levels; write the fields out"
BILLION = "data: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
SSIM = "data:\n  size: 32\nloss:\n  features:\n    preset: ssim\n"
CONFIGS = {
    "unknown key": (2, r"nam: unknown field \(did you mean 'name'", "nam: x\n"),
    "unknown group": (2, r"los: unknown field .did you mean 'loss'", "los:\n  alpha: 1\n"),
    "unknown key, deeper": (2, "features.pre_set: unknown field .did", "loss:\n  features:\n    pre_set: a\n"),
    "nothing for number": (2, "data.size: expected an integer, got None", "data:\n  size: null\n"),
    "group that is a number": (2, f"training: {FIELDS}, got a value of type int", "training: 5\n"),
    "group that is a list": (2, f"data: {FIELDS}, got a value of type list", "data: [1, 2]\n"),
    "group in a group that is a word": (2, f"loss.features: {FIELDS}, got", "loss:\n  features: dfc\n"),
    "not YAML": (2, "while parsing a flow sequence", "loss: [1\n"),
    "tabs": (2, "found character .* that cannot start any token", "loss:\n\talpha: 1\n"),
    "list": (2, f"{NO_FIELDS} a value of type list", "- 1\n- 2\n"),
    "word": (2, f"{NO_FIELDS} a value of type str", "hello\n"),
    "empty": (2, f"{NO_FIELDS} nothing", ""),
    "comments alone": (2, f"{NO_FIELDS} nothing", "# nothing\n"),
    "binary": (2, "tiny.yaml", bytes(range(256))),
    "image": (2, "tiny.yaml", broken.picture()),
    "key twice": (2, "loss.* twice", "loss:\n  alpha: 1\nloss:\n  beta: 1\n"),
    "that calls a function": (2, "could not determine a const", f"name: !!python/object/apply:open [{CANARY}, w]\n"),
    "in itself": (2, "tiny.yaml contains an alias", "loss: &a\n  features: *a\n"),
    "nested without end": (2, "more than 20 levels", "loss: " + "[" * 5000 + "]" * 5000),
    "that multiplies": (2, ALIAS, BILLION),
    "impossible together": (1, "scale: likelihood requires mean squared distances", f"{SSIM}  scale: likelihood\n"),
    "ssim with layers": (1, "the loss ssim has no layers; remove that setting", f"{SSIM}    layers: [1]\n"),
}


# Weights of the feature network.


def state_of(arch="vgg11_bn"):
    return {f"features.{name}": value for name, value in narrow(arch).state_dict().items()}


def one_filter_less(path):
    state = state_of()
    save_file(state | {"features.4.weight": state["features.4.weight"][:-1]}, path)


def flat(path):
    save_file(state_of() | {"features.0.weight": torch.ones(())}, path)


def vast(path):
    """A file of a few bytes that says it holds terabytes."""
    torch.save(state_of() | {"features.0.weight": torch.ones(1, 1, 1, 1).expand(2**40, 3, 3, 3)}, path)


CHECKSUM = "checksum mismatch"
NO_VGG = "is not a VGG of torchvision"
NO_WEIGHTS = "is not a weights file that PyTorch or safetensors can read safely"
WEIGHTS = {
    "of-resnet.pth": (1, NO_VGG, lambda path: torch.save({"fc.weight": torch.ones(1)}, path)),
    "of-vgg16.pth": (1, "vgg16 has no layer 'bn3_1'", lambda path: torch.save(state_of("vgg16"), path)),
    "wrong-shape.safetensors": (1, "expected features.4.weight of shape .*, but it has shape", one_filter_less),
    "flat.safetensors": (1, "expected features.0.weight of shape", flat),
    "empty.safetensors": (1, NO_WEIGHTS, lambda path: path.write_bytes(b"")),
    "cut.safetensors": (1, NO_WEIGHTS, lambda path: (save_file(state_of(), path), broken.cut(path))),
    "cut.pth": (1, NO_WEIGHTS, lambda path: (torch.save(state_of(), path), broken.cut(path))),
    "flipped.pth": (1, CHECKSUM, lambda path: (torch.save(state_of(), path), broken.flipped(path, 0.5))),
    "flipped.safetensors": (1, CHECKSUM, lambda path: broken.flipped(broken.judge(path), -9)),
    "list.pth": (1, NO_WEIGHTS, lambda path: torch.save([1, 2], path)),
    "picture.pth": (1, NO_WEIGHTS, lambda path: path.write_bytes(broken.picture())),
    "evil.pth": (1, NO_WEIGHTS, lambda path: torch.save({"features.0.weight": broken.Malicious()}, path)),
    "folder.pth": (1, "No weights file at given/folder.pth", lambda path: path.mkdir()),
    "vast.pth": (1, "times as wide as vgg11_bn, which is more than 4", vast),
}


def weights(name, make):
    broken.experiment(EXPERIMENT)
    make(GIVEN / name)


CASES = cases("config", TRAIN, lambda content: broken.experiment(EXPERIMENT, content), CONFIGS) | {
    f"weights {name}": Case(status, says, f"{TRAIN} --loss.features.weights given/{name}", partial(weights, name, make))
    for name, (status, says, make) in WEIGHTS.items()
}


@pytest.mark.parametrize("name", CASES)
def test_bad_settings(name, capsys):
    run(CASES[name], capsys)
