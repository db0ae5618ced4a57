from dataclasses import replace

import pytest
import torch
from torch.nn.functional import cosine_similarity

from dfcvae.cli import main
from dfcvae.config import Distillation
from dfcvae.distil import Student, _terms, _throw_away, distil
from dfcvae.disturbances import blur
from dfcvae.errors import UserError
from dfcvae.evaluation.fidelity import fidelity
from dfcvae.features import VGGFeatures
from dfcvae.seeding import Stream, seeded_generator

TAPS = ["relu1_1", "relu2_1"]
TINY = Distillation("vgg11_bn", 0.125, "relu2_1", sizes=[32], patch=32, steps=30, batch_size=16, learning_rate=3e-3)
TINY = replace(TINY, pooling="max", precision="32-true")


@pytest.fixture(scope="module")
def teacher():
    return VGGFeatures("vgg11", TAPS, "random")


def test_a_student_learns_what_its_teacher_sees_and_its_gradients(teacher, splits, tmp_path):
    faces, measured = splits["train"], splits["val"].images[:20]
    found = {}
    for steps in (1, 40):
        student = distil(replace(TINY, steps=steps), {"max": [teacher]}, faces, progress=False)
        loaded = VGGFeatures("vgg11_bn", TAPS, student.save(tmp_path / f"{steps}.safetensors"))
        found[steps] = fidelity(loaded, teacher, faces.images[:20], measured, TAPS)["all"]
    for tap in TAPS:
        assert found[40][tap]["unexplained"] < found[1][tap]["unexplained"]
        assert found[40][tap]["cosine"] > found[1][tap]["cosine"]


def test_its_file_gives_what_it_sees(tmp_path, x):
    student = Student("vgg11_bn", 0.25, "bn4_1").eval()
    with torch.no_grad():
        for name, tensor in student.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                tensor.uniform_(0.5, 1)
    file = student.save(tmp_path / "student.safetensors", {"teacher": "none"})
    for average in (False, True):
        student.average = average
        loaded = VGGFeatures("vgg11_bn", ["relu2_1", "bn4_1"], file, "average" if average else "max")(x)
        for name, output in loaded.items():
            torch.testing.assert_close(output, student(x)[name], rtol=2e-2, atol=2e-2)  # float16 in the file
    with pytest.raises(UserError, match=r"lacks conv4_2 of vgg11_bn \(features\.18\.weight .* choose layers before"):
        VGGFeatures("vgg11_bn", ["relu4_2"], file)


def test_training_goes_on_from_a_file(tmp_path, x):
    first = Student("vgg11_bn", 0.125, "relu3_2").eval()
    file, second = first.save(tmp_path / "a.safetensors"), Student("vgg11_bn", 0.125, "bn2_1").eval()
    second.start_from(file)
    torch.testing.assert_close(second(x)["bn2_1"], first(x)["bn2_1"], rtol=1e-2, atol=1e-2)
    with pytest.raises(UserError, match=r"is 0\.125 times as wide as vgg11_bn; set width to that, not 0\.25"):
        Student("vgg11_bn", 0.25, "bn2_1").start_from(file)


@pytest.fixture
def setting(teacher, splits):
    """A student, its maps to the teacher, and faces with blurred ones."""
    torch.manual_seed(0)
    student = Student("vgg11", 0.25, "relu2_1").eval()
    maps, _ = _throw_away(TINY, student, teacher, splits["train"])
    x = torch.rand(4, 3, 32, 32)
    return student, maps, x, blur(x, torch.linspace(0.3, 1, 4).view(4, 1, 1, 1), seeded_generator(0, Stream.EVALUATION))


def disagreement(student, teacher, x, y):
    """At relu2_1: one minus the cosine of the gradients of both distances, plus the variance of their log ratio."""
    slopes, logs = [], []
    for network in (student, teacher):
        z = y.clone().requires_grad_()
        distance = (network(z)["relu2_1"] - network(x)["relu2_1"].detach()).square().mean(dim=(1, 2, 3))
        slopes.append(torch.autograd.grad(distance.sum(), z)[0].flatten(1))
        logs.append((distance + 1e-3 * distance.mean()).detach().log())
    return 1 - cosine_similarity(*slopes).mean() + (logs[0] - logs[1]).var()


def test_the_gradient_term_is_one_minus_the_cosine_plus_the_variance_of_log_ratios(teacher, setting):
    student, maps, x, y = setting
    torch.manual_seed(1)  # of the places that are compared
    plain, _ = _terms(student, maps, teacher, x, y.clone(), {})
    torch.manual_seed(1)
    with_gradient, _ = _terms(student, maps, teacher, x, y.clone(), {"relu2_1": 2.0})
    wanted = 2 * disagreement(student, teacher, x, y)
    torch.testing.assert_close(with_gradient["relu2_1"] - plain["relu2_1"], wanted, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(with_gradient["relu1_1"], plain["relu1_1"])


def test_the_gradient_term_trains_the_student(teacher, setting):
    student, maps, x, y = setting

    def slope(weights):
        student.zero_grad()
        torch.manual_seed(1)
        terms, _ = _terms(student, maps, teacher, x, y.clone(), weights)
        terms["relu2_1"].backward()
        return student.layers["conv2_1"].weight.grad.clone()

    def moved(step):
        """The disagreement when the student's weights have moved."""
        weight = student.layers["conv2_1"].weight.data
        weight += step
        value = disagreement(student, teacher, x, y).item()
        weight -= step
        return value

    direction = slope({"relu2_1": 1.0}) - slope({})  # of 1 - cosine + variance of log ratios
    step = 1e-2 * direction / direction.norm()
    measured = (moved(step) - moved(-step)) / 2  # central difference along the gradient
    assert measured == pytest.approx(1e-2 * float(direction.norm()), rel=0.1)


def test_the_same_seed_gives_the_same_student(teacher, splits):
    config = replace(TINY, steps=3)
    states = [distil(config, {"max": [teacher]}, splits["train"], progress=False).state_dict() for _ in range(2)]
    for name, tensor in states[0].items():
        assert torch.equal(tensor, states[1][name]), name


def test_reconstructions_and_both_poolings_take_part(teacher, splits):
    seen = []

    def reconstruct(x):
        seen.append(len(x))
        return x.mean(dim=(2, 3), keepdim=True).expand_as(x)

    teachers = {"max": [teacher], "average": [VGGFeatures("vgg11", TAPS, "random", "average")]}
    config = replace(TINY, steps=2, pooling="both")
    distil(config, teachers, splits["train"], reconstruct=reconstruct, progress=False)
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"pooling": "average"}, "needs a teacher with that pooling"),
        ({"taps": ["relu3_1"]}, "have no relu3_1 in common; the teacher has relu1_1, relu2_1, and the student ends at"),
        ({"sizes": [32, 512]}, r"sizes: expected numbers from 32 to the faces' 32 pixels, got \[32, 512\]\."),
        ({"last": "relu9_1"}, "vgg11_bn has no layer 'relu9_1'"),
    ],
)
def test_mistakes_are_told(changes, text, teacher, splits):
    with pytest.raises(UserError, match=text):
        distil(replace(TINY, **changes), {"max": [teacher]}, splits["train"], progress=False)


def test_the_command_writes_the_student_and_its_fidelity(tmp_path, capsys):
    out = tmp_path / "student.safetensors"
    first = Student("vgg11", 0.25, "relu2_1").eval()
    file = first.save(tmp_path / "teacher.safetensors")
    student = {"arch": "vgg11_bn", "width": 0.125, "last": "relu2_1", "sizes": [32], "patch": 32, "steps": 2}
    options = [f"--student.{name}={value}" for name, value in (student | {"batch_size": 16}).items()]
    assert main(["features", "distil", str(file), "--data.train_images", "64", "--out", str(out), *options]) == 0
    assert "gradient cosine" in capsys.readouterr().out
    assert VGGFeatures("vgg11_bn", TAPS, out).channels == [8, 16]
    assert '"cosine"' in out.with_suffix(".json").read_text()
