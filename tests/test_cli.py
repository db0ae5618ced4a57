"""Every command, and the sentence of every mistake."""

import json
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import dfcvae
from dfcvae.attribute_network import AttributeNetwork
from dfcvae.cli import Parser, command_parser, main
from dfcvae.commands import COMMANDS
from dfcvae.data import data_of, read_face
from dfcvae.data.synthetic import render_faces
from dfcvae.errors import UserError
from dfcvae.training import train
from dfcvae.vae import VAE, digest
from dfcvae.weights import imagenet_file, load_vgg_weights
from tests.conftest import tiny_experiment
from tests.layouts import small_album, write_csv, write_images

pytestmark = pytest.mark.usefixtures("desk")


@pytest.fixture(scope="module")
def run(tmp_path_factory, splits):
    """A run folder of a tiny model that says it was trained on synthetic faces."""
    return train(tiny_experiment(), tmp_path_factory.mktemp("cli") / "run", data=splits, progress=False).folder


@pytest.fixture
def offline(monkeypatch):
    def refuse(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def ok(capsys, *argv):
    """What a command prints that works."""
    assert main([str(a) for a in argv]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def fails(capsys, line, sentence):
    """A command ends with a failure, in a sentence."""
    assert main(shlex.split(line)) == 1
    assert sentence in capsys.readouterr().err


def size(file):
    with Image.open(file) as image:
        image.load()
        return image.size


def face(size):
    return Image.fromarray(render_faces([7], size=size)[0][0].permute(1, 2, 0).numpy())


def test_train_with_overrides_then_resume(capsys, tmp_path):
    tiny_experiment().save(tmp_path / "tiny.yaml")
    few = ["--data.train_images", "32", "--loss.features.layers", "[conv1_1,4]", "--training.max_steps=2"]
    assert main(["train", "tiny.yaml", *few, "--out", "run"]) == 0
    told = capsys.readouterr()
    assert "beta_eff" in told.err
    assert re.search(r"features/4 conv2_1 +0.25", told.err)
    assert "Next: dfcvae sample run; dfcvae evaluate run" in told.err
    assert "Run: run\nval/kl" in told.out
    assert "Prior for samples: " in told.out
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()
    assert "train_images: 32" in (tmp_path / "run/config.yaml").read_text()
    ok(capsys, "train", "run/config.yaml", "--training.max_steps", "4", "--out", "run", "--resume")
    assert torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)["step"] == 4
    plain = ["--data.train_images", "32", "--training.max_steps=2", "--loss.features", "null"]
    assert "features/" not in ok(capsys, "train", "tiny.yaml", *plain, "--out", "plain")


def test_sample_is_deterministic_by_seed(capsys, run, tmp_path):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        ok(capsys, "sample", run, "-n", 6, "--seed", seed, "--out", f"{name}.png")
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert pictures[0] == pictures[1] != pictures[2]
    COMMANDS["sample"](str(run), count=6, seed=1, out=tmp_path / "python.png")
    assert (tmp_path / "python.png").read_bytes() == pictures[0]
    assert "6 files in x" in ok(capsys, "sample", run / "checkpoints/best.ckpt", "-n", 6, "--each", "--out", "x")
    assert size("x/000005.png") == (32, 32)


def test_reconstruct_test_faces_or_files(capsys, run):
    ok(capsys, "reconstruct", run, "-n", 5, "--out", "test.png")
    width, height = size("test.png")
    assert 5 * 131 < width < 5 * 131 + 120  # faces at four times their size beside the labels of the rows
    assert 2 * 131 < height < 2 * 131 + 30
    face(200).convert("L").save("grey.png")
    face(200).save("face.jpg")
    ok(capsys, "reconstruct", run, "grey.png", "face.jpg", "--out", "files.png")
    assert size("files.png")[0] == width - 3 * 131
    ok(capsys, "reconstruct", run, "-n", 5, "--scale", 1, "--out", "native.png")
    assert size("native.png") == (width - 5 * 96, height - 2 * 96)


def test_a_file_of_a_synthetic_face_is_not_cropped(run):
    """The same face as a file and as a row of the test split gives the same pixels."""
    face(32).save("face.png")
    pixels = torch.tensor(read_face("face.png", data_of(str(run))))
    assert torch.equal(pixels, render_faces([7], size=32)[0][0])
    face(178).save("photo.png")
    assert read_face("photo.png", data_of(str(run), "celeba")).shape == (3, 32, 32)


def test_features_train_then_evaluate_with_it_as_judge(capsys, run, tmp_path):
    small = "--training.arch=vgg11_bn --training.width=0.125 --training.epochs=1 --training.batch_size=16"
    words = f"features train {small} --data.size=32 --data.train_images=32 --out=judge.safetensors"
    assert re.search(r"mean( +\d+\.\d){4}", ok(capsys, *words.split()))
    scores = json.loads((tmp_path / "judge.json").read_text())["mean"]
    assert scores.keys() == {"accuracy", "majority", "balanced", "auroc"}
    out = ok(capsys, "evaluate", run, "--judge", "judge.safetensors", "--iwae", "3", "--out", "metrics.json")
    measures = json.loads((tmp_path / "metrics.json").read_text())
    assert {"mse", "sharpness", "attribute_agreement", "features/relu1_1", "active_units"} <= measures.keys()
    assert re.search(r"attribute_agreement +0\.\d+ +\[0\.\d+, 0\.\d+\] +↑   attributes the judge sees alike\n", out)
    assert measures["intervals"]["mse"][0] < measures["mse"] < measures["intervals"]["mse"][1]
    assert sum(measures["kl_per_dimension"]) == pytest.approx(measures["kl"])
    assert measures["negative_iwae"] < measures["negative_elbo"]
    assert "Sets of 24 images against the test split\nfeatures: attribute-trained judge  Frechet ↓" in out
    assert measures["floor/frechet_judge"] < measures["reconstructions/frechet_judge"]
    assert {"samples/kernel_judge", "samples/precision_judge", "samples/recall_judge"} <= measures.keys()
    assert re.search(rf"\nmodel: '?{digest(VAE.load(run))}'?\n", out)
    assert measures["protocol"]["data"] == "synthetic, test split, 24 images"
    assert "torch" in measures["protocol"]["versions"]


def test_lpips_is_measured_where_its_weights_are(capsys, run, offline):
    assert "\nLPIPS on alexnet and vgg16 was skipped" in ok(capsys, "evaluate", run)
    fails(capsys, f"evaluate {run} --lpips", "The ImageNet weights of alexnet could not be downloaded")
    file = imagenet_file("vgg16")
    file.parent.mkdir(parents=True)
    save_file({f"features.{name}": value for name, value in load_vgg_weights("vgg16", "random")[0].items()}, file)
    out = ok(capsys, "evaluate", run)
    assert re.search(r"\nlpips_vgg +\d+\.\d+ +\[\d", out)
    assert "\nLPIPS on alexnet was skipped" in out


def test_fid_is_measured_where_it_is_asked_for(capsys, run, offline, tmp_path, monkeypatch):
    fails(capsys, f"evaluate {run} --fid", "The Inception weights of FID could not be downloaded from https://")
    fails(capsys, f"evaluate {run} --fid none.pth", "No Inception weights at none.pth")
    network = "dfcvae.report.observers.inception_network"
    monkeypatch.setattr(network, lambda weights, device: lambda images: images.mean(dim=3).flatten(1))
    out = ok(capsys, "evaluate", run, "--fid", "weights.pth", "--out", "metrics.json")
    assert re.search(r"\nfeatures: Inception +FID ↓ +KID ↓ +precision ↑ +recall ↑\n", out)
    assert re.search(r"\nsamples, N\(0, I\) +\d", out)
    measures = json.loads((tmp_path / "metrics.json").read_text())
    assert measures["floor/fid"] < measures["reconstructions/fid"]
    assert {"samples/kid", "samples/precision_inception", "samples/recall_inception"} <= measures.keys()
    card = measures["protocol"]
    assert card["samples"].startswith("24 in each set, from N(0, I)")
    assert card["inception"].startswith("torch-fidelity, 2048 pooled features; images as uint8, resized to 299")
    assert card["inception_sha256"].startswith("6726825d")
    assert card["kid"] == "over the whole sets"


def test_data_from_a_folder_to_a_trained_model(capsys, tmp_path):
    """What a newcomer does with a folder of pictures: look, prepare, check, train."""
    write_images(tmp_path / "faces", small_album())
    (tmp_path / "faces" / "broken.png").write_bytes(b"")
    fails(capsys, "data info faces --sheet faces/sheet.png", "faces/sheet.png would be in the folder of the images")
    out = ok(capsys, "data", "info", "faces", "--sheet", "sheet.png", "--crop", "full", "--size", "32")
    assert re.search(r"unreadable +1\n +broken.png: ", out)
    assert "crop        full: 178 x 178 from (0, 20) of 178 x 218" in out
    assert size("sheet.png") == (8 * 130 + 2, 3 * 130 + 2)
    fails(capsys, "data prepare faces --size 32 --strict", "1 images of ")
    assert main(["data", "prepare", "faces", "--size", "32", "--workers", "2"]) == 0
    told = capsys.readouterr()
    assert told.out == "train 20, val 2, test 2\n"
    assert "Left out: 1 unreadable (broken.png: " in told.err
    assert "32 px, 3 channels, crop auto, bilinear: " in ok(capsys, "data", "info", "faces")
    assert ok(capsys, "data", "check", "faces").endswith(": good\n")
    tiny_experiment().save(tmp_path / "tiny.yaml")
    ok(capsys, "train", "tiny.yaml", "--data.source", "faces", "--training.max_steps", "2", "--out", "run")
    assert "test 2" in ok(capsys, "data", "prepare", "faces", "--size", "32")
    ok(capsys, "evaluate", "run")
    no_attributes = "These faces have no attributes to train a feature network on; use CelebA or"
    fails(capsys, "features train --data.source faces --data.size 32", no_attributes)


def test_the_training_data_by_another_spelling_is_the_training_data(tmp_path):
    (tmp_path / "photos").mkdir()
    experiment = tiny_experiment()
    experiment.data.source, experiment.data.train_images = str(tmp_path / "photos"), 20
    model = VAE("hou2016", 32, 3, 8).save(tmp_path / "model", experiment.as_dict())
    for source in (None, str(tmp_path / "photos"), f"{tmp_path}/photos/", f"{tmp_path}/model/../photos"):
        assert data_of(model, source, held_out=False).train_images == 20
    assert data_of(model, "synthetic", held_out=False).train_images is None


def test_test_images_alone_are_evaluated_without_samples(capsys, run, tmp_path):
    write_images(tmp_path / "faces" / "test", small_album())
    write_csv(tmp_path / "faces.csv", ["file", "split"], [[name, "test"] for name in small_album().files])
    AttributeNetwork("vgg11_bn", 0.125, ("Male",)).save(tmp_path / "judge.safetensors")
    out = ok(capsys, "evaluate", run, "--source", "faces", "--judge", "judge.safetensors")
    assert re.search(r"(?m)^mse +0\.\d", out)
    assert "Samples are not measured: 5 validation and test faces are needed, and there are 0." in out


def test_caches_are_checked(capsys, tmp_path):
    write_images(tmp_path / "faces", small_album())
    for pixels in (8, 16):
        ok(capsys, "data", "prepare", "faces", "--size", pixels, "--split_seed", "5")
    assert ok(capsys, "data", "check", "faces", "--split_seed", "5").count(": good\n") == 2
    file = next((tmp_path / "cache").glob("8px-*/images.npy"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert main(["data", "check"]) == 1
    told = capsys.readouterr()
    assert re.search(r"16px-\w+: good\n.*8px-\w+: images.npy is corrupted", told.out)
    assert "1 of 2 caches are corrupted; delete their folders and prepare again" in told.err
    for table in (tmp_path / "cache").glob("*/files.csv"):
        table.write_text("file,width\na\n")
    assert main(["data", "info", "faces", "--split_seed", "5"]) == 1
    assert re.search(r"corrupted.* (D|d)elete th", capsys.readouterr().err)


def test_data_info_of_synthetic_faces(capsys):
    out = ok(capsys, "data", "info", "synthetic", "--sheet", "sheet.png", "--size", "32")
    assert re.search(r"Synthetic faces, drawn on demand. \d\d attributes: .*Smiling", out)
    assert size("sheet.png") == (8 * 130 + 2, 8 * 130 + 2)


def test_interpolate_between_test_faces_and_files(run, capsys):
    written = [f"{width}.png" for width in (90, 64, 200)]
    for file in written:
        Image.new("RGB", (int(file[:-4]), 110), (200, 150, int(file[:-4]))).save(file)
    for name, arguments, columns, rows in (
        ("ends", ["--steps", 5], 7, 1),  # with the two originals at the ends
        ("grid", ["-n", 4, "--steps", 3, "--spherical"], 3, 3),
        ("legs", [*written, "--steps", 4], 6, 2),
        ("random", ["--random", "-n", 3, "--steps", 5, "--seed", 4], 5, 2),  # no originals
    ):
        ok(capsys, "interpolate", run, *arguments, "--out", f"{name}.png")
        assert tuple(pixels // 131 for pixels in size(f"{name}.png")) == (columns, rows)
    ok(capsys, "interpolate", run, "--steps", 6, "--out", "way.gif")
    with Image.open("way.gif") as moving:
        assert (moving.format, moving.size) == ("GIF", (128, 128))
        assert 10 < moving.n_frames <= 30  # there and back; equal neighbours are one frame
        assert moving.info["duration"] == 100


PACKAGE = Path(dfcvae.__file__).parent
SIZES = "side of the square images in pixels: 32, 64, 128 or 256"


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("--version", "dfcvae 0."),
        ("--help", "reconstruct Show originals above their reconstructions"),
        ("data --help", "data info Describe a data set"),
        ("sample --help", "where the faces come from: a path as in"),
        ("train --help", SIZES),
        ("data prepare --help", SIZES),
        ("features train --help", SIZES),
    ],
)
def test_help_and_version(line, expected, capsys):
    with pytest.raises(SystemExit) as left:
        main(line.split())
    assert left.value.code == 0
    assert expected in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_every_argument_is_described(name, monkeypatch):
    helps, add_argument = {}, Parser.add_argument

    def recorded(self, *flags, **how):
        helps[flags[0]] = how.get("help")
        return add_argument(self, *flags, **how)

    monkeypatch.setattr(Parser, "add_argument", recorded)
    assert command_parser(name).description in COMMANDS[name].__doc__
    assert {flag for flag, help in helps.items() if not help} <= {"--print_config"}  # jsonargparse's own


def test_a_sample_imports_only_what_it_uses(run, tmp_path):
    argv = ["sample", str(run), "-n", "2", "--out", str(tmp_path / "x.png")]
    code = f"import sys; from dfcvae.cli import main; assert not main({argv}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    heavy = {"lightning", "torchmetrics", "sklearn", "scipy", "matplotlib", "torchvision", "wandb", "nicegui"}
    assert "torch" in loaded
    assert not loaded & heavy


MISTAKES = [  # command line, exit status, what is said
    ("", 2, "Name a command: dfcvae COMMAND, one of demo, train"),
    ("trian", 2, r"unknown command 'trian' \(did you mean 'train'\?\); expected one of demo, train"),
    ("features", 2, "Name a command: dfcvae features COMMAND, one of train, distil, list"),
    ("data inof x", 2, r"unknown command 'data inof' \(did you mean 'info'\?\)"),
    ("train", 2, "Name an experiment first: dfcvae train EXPERIMENT.yaml"),
    ("train no.yaml", 2, "There is no file no.yaml; name an experiment"),
    ("train tiny.yaml --loss.alpah 1", 2, r"--loss.alpah 1 \(did you mean 'loss.alpha'\?\)"),
    ("train tiny.yaml --loss.features.archh x", 2, r"loss.features.* 'archh' .*\(did you mean 'arch'\?\)"),
    ("train tiny.yaml --training.epochs five", 2, '"training.epochs": Expected a .*int.*Got value: five'),
    ("train tiny.yaml --loss.features.layers x", 2, '"loss.features": .*"layers": Expected a .*list.* Got value: x.'),
    ("train tiny.yaml --loss.features.pooling avg", 2, r"\['max', 'average'\]. Got value: avg."),
    ("train tiny.yaml --loss.features.shift 99", 2, r"loss.features.shift: expected at most data.size \(32\), got 99"),
    ("train tiny.yaml --data.source nowhere", 1, "There is no .*nowhere. Expected a folder of images, CelebA's folder"),
    ("train tiny.yaml --training.accelerator cuda", 1, "PyTorch finds no CUDA GPU; use auto or cpu"),
    ("sample nothing", 1, "No model at nothing: expected a checkpoint"),
    ("sample", 2, "the following arguments are required: model."),
    ("sample x --cuont 3", 2, r"unrecognized arguments: --cuont 3 \(did you mean 'count'\?\)"),
    ("sample RUN -n 0", 2, "count: expected a positive integer, got 0."),
    ("sample RUN --seed -1", 2, "seed: expected a non-negative integer, got -1."),
    ("sample RUN --out /dev/null/x.png", 1, "/dev/null.*: .*Check the path"),
    ("sample RUN --each --out faces.png", 2, "--each writes one file per face into a folder; .* got 'faces.png'."),
    (
        "sample RUN --out faces.gif",
        2,
        "pictures are written as PNG; .* got 'faces.gif'",
    ),
    ("interpolate RUN -n 1", 2, "count: expected an integer of at least 2, got 1."),
    ("interpolate RUN no.png", 1, "Interpolation needs two faces or more, got 1: name a second image file"),
    ("reconstruct RUN no.png", 1, "no.png is not a readable image"),
    ("evaluate RUN --iwae 1", 2, "iwae: expected an integer of at least 2 .*, got 1."),
    ("features train --out x.pt", 1, "--out: expected a name that ends in .safetensors, got 'x.pt'"),
    ("features distil imagenet --data.size 32", 2, "unrecognized arguments: --data.size 32"),
    ("data info .", 1, "holds no images. It holds .*.safetensors"),
    ("data prepare synthetic", 1, "Synthetic faces are drawn on demand"),
    ("data check", 1, "There is no decoded data to check; run `dfcvae data prepare` first."),
    ("demo --out .", 1, ". is not empty; choose another folder with --out"),
]
if torch.cuda.is_available():
    MISTAKES = [mistake for mistake in MISTAKES if "cuda" not in mistake[0]]


@pytest.mark.parametrize(("line", "status", "sentence"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes_are_sentences(line, status, sentence, capsys, run, tmp_path):
    tiny_experiment().save(tmp_path / "tiny.yaml")
    (tmp_path / "notes.safetensors").write_bytes(b"")
    assert main([str(run) if word == "RUN" else word for word in shlex.split(line)]) == status
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert "\ndfcvae: " in f"\n{error}"  # `sample` says its prior before
    assert "Traceback" not in error


def test_debug_shows_the_traceback():
    with pytest.raises(UserError):
        main(["sample", "nothing", "--debug"])


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), 1, r"the GPU is out of memory\. Lower training\.batch_size.*"),
        (MemoryError(), 1, "not enough memory.*"),
        (KeyboardInterrupt(), 130, "interrupted. .* with --resume."),
        (RuntimeError("a fault of this program"), None, None),
    ],
)
def test_errors_from_below(error, status, sentence, monkeypatch, capsys):
    def failing(**_):
        raise error

    monkeypatch.setattr("dfcvae.cli.parse", lambda argv: (failing, {}))
    if status is None:
        with pytest.raises(RuntimeError):
            main(["sample", "x"])
    else:
        assert main(["sample", "x"]) == status
        assert re.fullmatch(f"dfcvae: {sentence}\n", capsys.readouterr().err)
