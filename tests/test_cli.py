"""Every command, and the sentence of every mistake."""

import json
import re
import socket

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.cli import main
from dfcvae.commands.evaluating import print_samples
from dfcvae.config import DataConfig
from dfcvae.data.synthetic import render_faces
from dfcvae.report.evaluated import evaluate_model
from dfcvae.report.observers import Judge, Observers
from dfcvae.vae import VAE, digest
from dfcvae.weights import imagenet_file, load_vgg_weights
from tests.conftest import tiny_experiment
from tests.layouts import small_album, write_csv, write_images


@pytest.fixture(scope="module")
def run(tmp_path_factory, splits):
    """A run folder of a tiny model that says it was trained on synthetic faces."""
    from dfcvae.training import train

    return train(tiny_experiment(), tmp_path_factory.mktemp("cli") / "run", splits=splits, progress=False).folder


@pytest.fixture(autouse=True)
def _few_held_out_faces(monkeypatch, tmp_path):
    monkeypatch.setattr("dfcvae.data.source.SYNTHETIC_HELD_OUT", 24)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cache(monkeypatch, tmp_path):
    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def refuse(*_, **__):
    raise socket.gaierror("no network")


def ok(capsys, *argv):
    assert main([str(a) for a in argv]) == 0, capsys.readouterr().err
    return capsys.readouterr().out


def test_train_with_overrides_then_resume(capsys, tmp_path):
    tiny_experiment().save(tmp_path / "tiny.yaml")
    few = ["--data.train_images", "32", "--loss.features.layers", "[conv1_1,4]", "--training.max_steps=2"]
    out = ok(capsys, "train", "tiny.yaml", *few, "--out", "run")
    assert "beta_eff" in out
    assert re.search(r"features/4 conv2_1 +0.25", out)
    assert (tmp_path / "run/checkpoints/best.ckpt").is_file()
    saved = (tmp_path / "run/config.yaml").read_text()
    assert "train_images: 32" in saved
    ok(capsys, "train", "run/config.yaml", "--training.max_steps", "4", "--out", "run", "--resume")
    last = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert last["step"] == 4


def test_the_plain_vae_is_the_same_file_without_features(capsys, tmp_path):
    tiny_experiment().save(tmp_path / "tiny.yaml")
    few = ["--data.train_images", "32", "--training.max_steps=2"]
    out = ok(capsys, "train", "tiny.yaml", *few, "--loss.features", "null", "--out", "plain")
    assert "features/" not in out


def test_sample_is_deterministic_by_seed(capsys, run, tmp_path):
    for name, seed in [("a", 1), ("b", 1), ("c", 2)]:
        ok(capsys, "sample", run, "-n", 6, "--seed", seed, "--out", f"{name}.png")
    pictures = [(tmp_path / f"{name}.png").read_bytes() for name in "abc"]
    assert pictures[0] == pictures[1] != pictures[2]
    assert "6 files in faces" in ok(
        capsys, "sample", run / "checkpoints" / "best.ckpt", "-n", 6, "--each", "--out", "faces"
    )
    with Image.open(tmp_path / "faces" / "000005.png") as image:
        assert image.size == (32, 32)


def test_reconstruct_test_faces_or_files(capsys, run, tmp_path):
    ok(capsys, "reconstruct", run, "-n", 5, "--out", "test.png")
    with Image.open(tmp_path / "test.png") as image:
        assert image.size == (5 * 34 + 2, 2 * 34 + 2)
    face = Image.fromarray(render_faces([7], size=200)[0][0].permute(1, 2, 0).numpy())
    face.convert("L").save("grey.png")
    face.save("face.jpg")
    ok(capsys, "reconstruct", run, "grey.png", "face.jpg", "--out", "files.png")
    with Image.open(tmp_path / "files.png") as image:
        assert image.size == (2 * 34 + 2, 2 * 34 + 2)


def test_a_file_of_a_synthetic_face_is_not_cropped(run, tmp_path):
    """The same face as a file and as a row of the test split gives the same pixels."""
    from dfcvae.data import data_of, read_face

    face = render_faces([7], size=32)[0][0]
    Image.fromarray(face.permute(1, 2, 0).numpy()).save("face.png")
    assert torch.equal(torch.tensor(read_face(tmp_path / "face.png", data_of(str(run), None))), face)
    photo = Image.fromarray(render_faces([7], size=178)[0][0].permute(1, 2, 0).numpy())
    photo.save("photo.png")
    assert read_face(tmp_path / "photo.png", data_of(str(run), "celeba")).shape == (3, 32, 32)


def test_a_model_saved_without_its_experiment_asks_for_its_data(capsys, tmp_path):
    VAE("hou2016", 32, 3, 8).save("bare")
    assert main(["reconstruct", "bare", "--out", "x.png"]) == 1
    assert "bare does not say which faces it was trained on" in capsys.readouterr().err
    ok(capsys, "reconstruct", "bare", "-n", 3, "--source", "synthetic", "--out", "x.png")


def test_export_and_use_the_export(capsys, run, tmp_path):
    ok(capsys, "export", run, "--out", "model")
    names = ["README.md", "latent", "model.json", "model.safetensors"]
    assert sorted(path.name for path in (tmp_path / "model").iterdir()) == names
    x = torch.rand(2, 3, 32, 32)
    assert torch.equal(VAE.load("model").reconstruct(x), VAE.load(run).reconstruct(x))
    ok(capsys, "reconstruct", "model", "--out", "x.png")


def test_features_train_then_evaluate_with_it_as_judge(capsys, run, tmp_path):
    small = [
        "--training.arch=vgg11_bn",
        "--training.width=0.125",
        "--training.epochs=1",
        "--training.batch_size=16",
        "--data.size=32",
        "--data.train_images=32",
    ]
    out = ok(
        capsys,
        "features",
        "train",
        *small,
        "--data.size",
        "32",
        "--data.train_images",
        "32",
        "--out",
        "judge.safetensors",
    )
    assert re.search(r"mean( +\d+\.\d){4}", out)
    assert json.loads((tmp_path / "judge.json").read_text())["mean"].keys() == {
        "accuracy",
        "majority",
        "balanced",
        "auroc",
    }
    out = ok(capsys, "evaluate", run, "--judge", "judge.safetensors", "--iwae", "3", "--out", "metrics.json")
    measures = json.loads((tmp_path / "metrics.json").read_text())
    assert {"mse", "sharpness", "attribute_agreement", "features/relu1_1", "active_units"} <= measures.keys()
    assert re.search(r"attribute_agreement +0\.\d+  \[0\.\d+, 0\.\d+\]\n", out)
    assert measures["intervals"]["mse"][0] < measures["mse"] < measures["intervals"]["mse"][1]
    assert sum(measures["kl_per_dimension"]) == pytest.approx(measures["kl"])
    assert measures["negative_iwae"] < measures["negative_elbo"]
    assert "Against the test split, in the features of the attribute-trained judge, 24 images each\n" in out
    assert measures["floor/frechet_judge"] < measures["reconstructions/frechet_judge"]
    assert {"samples/kernel_judge", "samples/precision_judge", "samples/recall_judge"} <= measures.keys()
    assert re.search(rf"\nmodel +{digest(VAE.load(run))}\n", out)
    assert measures["protocol"]["data"] == "synthetic, test split, 24 images"
    assert "torch" in measures["protocol"]["versions"]


def test_lpips_is_measured_where_its_weights_are(capsys, run, tmp_path, cache, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    out = ok(capsys, "evaluate", run)
    assert "\nLPIPS on alexnet and vgg16 is left out" in out
    assert main(["evaluate", str(run), "--lpips"]) == 1
    assert "The ImageNet weights of alexnet could not be downloaded" in capsys.readouterr().err
    file = imagenet_file("vgg16")
    file.parent.mkdir(parents=True)
    save_file({f"features.{name}": value for name, value in load_vgg_weights("vgg16", "random")[0].items()}, file)
    out = ok(capsys, "evaluate", run)
    assert re.search(r"\nlpips_vgg +\d+\.\d+  \[\d", out)
    assert "\nLPIPS on alexnet is left out" in out


def test_fid_is_measured_where_it_is_asked_for(capsys, run, tmp_path, monkeypatch):
    def network(weights, device):
        assert weights == "weights.pth"
        return lambda images: images.mean(dim=3).flatten(1)

    monkeypatch.setattr("dfcvae.report.observers.inception_network", network)
    out = ok(capsys, "evaluate", run, "--fid", "weights.pth", "--out", "metrics.json")
    assert "Against the test split, in the features of Inception, 24 images each\n" in out
    assert re.search(r"\n +FID +KID +precision +recall\nsamples, N\(0, I\) +\d", out)
    measures = json.loads((tmp_path / "metrics.json").read_text())
    assert measures["floor/fid"] < measures["reconstructions/fid"]
    assert {"samples/kid", "samples/precision_inception", "samples/recall_inception"} <= measures.keys()
    card = measures["protocol"]
    assert card["samples"].startswith("24 in each set, from N(0, I)")
    assert (
        card["inception"] == "torch-fidelity, 2048 pooled features; images as uint8, resized to 299 as in TensorFlow 1"
    )
    assert card["inception_sha256"].startswith("6726825d")
    assert card["kid"] == "over the whole sets"


def test_fid_without_a_network_says_what_to_do(capsys, run, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert main(["evaluate", str(run), "--fid"]) == 1
    assert "The Inception weights of FID could not be downloaded from https://" in capsys.readouterr().err
    assert main(["evaluate", str(run), "--fid", "none.pth"]) == 1
    assert "No Inception weights at none.pth" in capsys.readouterr().err


def test_too_few_faces_leave_the_samples_out(capsys, splits, tmp_path):
    few = {name: faces.subset(4) for name, faces in splits.items()}
    AttributeNetwork("vgg11_bn", 0.125, ("Male",)).save(tmp_path / "judge.safetensors")
    judge = Judge.load(tmp_path / "judge.safetensors", "cpu")
    found = evaluate_model(VAE("hou2016", 32, 3, 8), DataConfig(size=32), few, Observers(judge), progress=False)
    assert found.samples == {}
    print_samples(found, 4)
    told = capsys.readouterr().out
    assert "Samples are not measured: 5 validation and test faces are needed, and there are 4." in told


def test_data_info_of_synthetic_faces(capsys):
    assert re.search(
        r"Synthetic faces, drawn on demand. \d\d attributes: .*Smiling", ok(capsys, "data", "info", "synthetic")
    )


def test_data_from_a_folder_to_a_trained_model(capsys, tmp_path, cache):
    """What a newcomer does with a folder of pictures: look, prepare, check, train."""
    write_images(tmp_path / "faces", small_album())
    (tmp_path / "faces" / "broken.png").write_bytes(b"")
    out = ok(capsys, "data", "info", "faces", "--sheet", "sheet.png", "--crop", "full", "--size", "32")
    assert re.search(r"unreadable +1\n +broken.png: ", out)
    assert "crop        full: 178 x 178 from (0, 20) of 178 x 218" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 34 + 2, 3 * 34 + 2)
    assert main(["data", "prepare", "faces", "--size", "32", "--strict"]) == 1
    assert "1 images of " in capsys.readouterr().err
    assert main(["data", "prepare", "faces", "--size", "32", "--workers", "2"]) == 0
    told = capsys.readouterr()
    assert told.out == "train 20, val 2, test 2\n"
    assert "Left out: 1 unreadable (broken.png: " in told.err
    assert "32 px RGB, crop auto, bilinear: " in ok(capsys, "data", "info", "faces")
    assert ok(capsys, "data", "check", "faces").endswith(": good\n")
    tiny_experiment().save(tmp_path / "tiny.yaml")
    ok(capsys, "train", "tiny.yaml", "--data.source", "faces", "--training.max_steps", "2", "--out", "run")
    assert "test 2" in ok(capsys, "data", "prepare", "faces", "--size", "32")
    ok(capsys, "evaluate", "run")


def test_a_folder_of_test_images_alone_can_be_evaluated(capsys, run, tmp_path, cache):
    write_images(tmp_path / "faces" / "test", small_album())
    write_csv(tmp_path / "faces.csv", ["file", "split"], [[name, "test"] for name in small_album().files])
    assert "mse" in ok(capsys, "evaluate", run, "--source", "faces")


def test_a_damaged_cache_is_found_by_check(capsys, tmp_path, cache):
    write_images(tmp_path / "faces", small_album())
    for size in (8, 16):
        ok(capsys, "data", "prepare", "faces", "--size", size)
    file = next(cache.glob("8px-*/images.npy"))
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert main(["data", "check"]) == 1
    told = capsys.readouterr()
    assert re.search(r"16px-\w+: good\n.*8px-\w+: images.npy is corrupted: checksum mismatch", told.out)
    assert "1 of 2 caches are damaged; delete their folders and prepare them again" in told.err


def test_a_contact_sheet_is_not_put_among_the_images(capsys, tmp_path, cache):
    write_images(tmp_path / "faces", small_album())
    assert main(["data", "info", "faces", "--sheet", "faces/sheet.png"]) == 1
    assert "faces/sheet.png would lie among the images" in capsys.readouterr().err


def test_caches_of_another_split_are_checked_on_request(capsys, tmp_path, cache):
    write_images(tmp_path / "faces", small_album())
    ok(capsys, "data", "prepare", "faces", "--size", "8", "--split_seed", "5")
    assert ok(capsys, "data", "check", "faces", "--split_seed", "5").endswith(": good\n")


@pytest.mark.parametrize("name", ["files.csv", "cache.json"])
def test_a_damaged_record_of_a_cache_is_told(name, capsys, tmp_path, cache):
    write_images(tmp_path / "faces", small_album())
    (tmp_path / "faces" / "broken.png").write_bytes(b"")
    ok(capsys, "data", "prepare", "faces", "--size", "8")
    [file] = cache.glob(f"8px-*/{name}")
    file.write_text('{"identity": null}' if name == "cache.json" else "file,width\na\n")
    assert main(["data", "info", "faces"]) == (0 if name == "cache.json" else 1)
    assert main(["data", "prepare", "faces", "--size", "8"]) == 1
    assert re.search(r"damaged.* Delete th", capsys.readouterr().err)


def test_a_contact_sheet_of_synthetic_faces(capsys, tmp_path):
    ok(capsys, "data", "info", "synthetic", "--sheet", "sheet.png", "--size", "32")
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (8 * 34 + 2, 8 * 34 + 2)


def test_features_need_attributes(capsys, tmp_path, cache):
    write_images(tmp_path / "faces", small_album())
    assert main(["features", "train", "--data.source", "faces", "--data.size", "32"]) == 1
    assert "these faces have none; use CelebA or" in capsys.readouterr().err


def test_version_and_help(capsys):
    for argument, expected in [("--version", "dfcvae 0."), ("--help", "reconstruct")]:
        with pytest.raises(SystemExit) as left:
            main([argument])
        assert left.value.code == 0
        assert expected in capsys.readouterr().out


def test_help_says_what_every_field_means(capsys):
    for command in (["train"], ["data", "prepare"], ["features", "train"]):
        with pytest.raises(SystemExit):
            main([*command, "--help"])
        shown = " ".join(capsys.readouterr().out.split())
        assert "side of the square images in pixels: 32, 64, 128 or 256." in shown


EXPERIMENT = "tiny.yaml"
MISTAKES = [
    ([], 2, "Name a command; --help lists them."),
    (["trian"], 2, r"There is no 'trian' \(did you mean 'train'\?\); choose one of demo, train"),
    (["train"], 2, "Name an experiment first: dfcvae train EXPERIMENT.yaml"),
    (["train", "no.yaml"], 2, "config: File does not exist: .*no.yaml"),
    (["train", EXPERIMENT, "--loss.alpah", "1"], 2, r"There is no field 'loss.alpah' \(did you mean 'loss.alpha'\?\)"),
    (
        ["train", EXPERIMENT, "--loss.features.archh", "x"],
        2,
        r"no field 'loss.features.archh' \(did you mean 'loss.features.arch'",
    ),
    (["train", EXPERIMENT, "--training.epochs", "five"], 2, "training.epochs: expected 'int', but 'five' came."),
    (["train", EXPERIMENT, "--training.epochs", "0"], 1, "training.epochs should be at least 1, but 0 came."),
    (
        ["train", EXPERIMENT, "--loss.features.layers", "x"],
        2,
        r"expected list\[int \| str\] or null, but x came.",
    ),
    (["train", EXPERIMENT, "--loss.features.pooling", "avg"], 2, "features.pooling: expected one of max, average"),
    (["train", EXPERIMENT, "--loss.features.preset", "dfcc"], 1, r"There is no loss 'dfcc' \(did you mean 'dfc'"),
    (["train", EXPERIMENT, "--loss.features.shift", "99"], 1, "loss.features.shift should be between 0 and 32, but 99"),
    (["train", EXPERIMENT, "--training.clip_norm", "x"], 2, "training.clip_norm: expected float or null, but x came."),
    (["features", "list", "vgg99"], 1, "'vgg99' is not a VGG of torchvision"),
    (["train", EXPERIMENT, "--loss.features.layers", "[99]"], 1, "vgg11_bn has no layer 99. Its layers are: 0 conv1_1"),
    (
        ["train", EXPERIMENT, "--loss.features.arch", "vgg18"],
        1,
        r"'vgg18' is not a VGG of torchvision \(did you mean 'vgg1",
    ),
    (["train", EXPERIMENT, "--loss.features.weights", "no.pth"], 1, "No weights file at no.pth; offline choices"),
    (["train", EXPERIMENT, "--loss.features.layer_weights", "[1,2,3]"], 1, "one for each of the 2 layers"),
    (
        ["train", EXPERIMENT, "--model.network", "hou"],
        2,
        r"expected one of hou2016, smooth, strided \(did you mean 'hou2016'\?\)",
    ),
    (["train", EXPERIMENT, "--data.size", "48"], 1, "A VAE's size is one of 32, 64, 128, 256; 48 came."),
    (
        ["train", EXPERIMENT, "--data.source", "nowhere"],
        1,
        "There is no .*nowhere. Expected a folder of images, CelebA's folder",
    ),
    (["train", EXPERIMENT, "--resume"], 1, "There is nothing to resume in runs/tiny: expected"),
    (["train", "bad.yaml"], 2, r"There is no field 'loss.beeta' \(did you mean 'loss.beta'\?\)"),
    (["train", "broken.yaml"], 2, "while parsing a flow sequence"),
    (["sample", "nothing"], 1, "No model at nothing: expected a checkpoint"),
    (["sample", "x", "--count", "three"], 2, "count: expected a whole number above 0, but three came."),
    (["sample", "x", "--nn", "3"], 2, r"There is no option '--nn' \(did you mean '-n'\?\); see --help"),
    (["evaluate", "x", "--jugde", "3"], 2, r"There is no option '--jugde' \(did you mean '--judge'\?\); see --help"),
    (["features", "train", "--training.widht", "1"], 2, r"'training.widht' \(did you mean 'training.width'\?\)"),
    (["features", "train", "--features.width", "1"], 2, r"There is no field 'features.width'.*see --help"),
    (["reconstruct", "RUN", "no.png"], 1, "no.png is not a readable image"),
    (["reconstruct", "RUN", "bad.yaml"], 1, "bad.yaml is not a readable image"),
    (["evaluate", "RUN", "--judge", "bad.yaml"], 1, "bad.yaml: loss: unknown field; the fields are name, size, "),
    (["evaluate", "RUN", "--iwae", "1"], 1, "--iwae takes 2 draws or more"),
    (["features"], 2, "Name a command"),
    (["data", "inof", "x"], 2, r"There is no 'inof' \(did you mean 'info'\?\)"),
    (["data", "info", "nowhere"], 1, "There is no .*nowhere."),
    (["data", "info", "."], 1, "holds no images. It holds .*.safetensors"),
    (["data", "prepare", "nowhere", "--crop", "ful"], 1, r"got 'ful' \(did you mean 'full'"),
    (["data", "info", "synthetic", "--sheet", "x.png", "--size", "0"], 1, "size: expected at least 1 pixel"),
    (["data", "prepare", "synthetic"], 1, "Synthetic faces are drawn when they are needed"),
    (["data", "prepare", "x", "--filter", "lanczos"], 2, "filter: expected one of bilinear, bicubic, box"),
    (["data", "prepare", "x", "--sizes", "3"], 2, r"There is no option '--sizes' \(did you mean '--size'\?\)"),
    (["data", "prepare", "x", "--workers", "0"], 2, "workers: expected a whole number above 0, but 0 came."),
    (["data", "check"], 1, "There is no decoded data to check; `dfcvae data prepare` makes it."),
    (["data", "check", "nowhere"], 1, "There is no .*nowhere."),
    (["sample", "RUN", "-n", "0"], 2, "count: expected a whole number above 0, but 0 came."),
    (["sample", "RUN", "--seed", "-1"], 2, "seed: expected a whole number of at least 0, but -1 came."),
    (["sample", "RUN", "--out", "/dev/null/x.png"], 1, "/dev/null.*: .*Check the path"),
    (["sample", "judge.safetensors"], 1, r"judge.safetensors needs a description that `dfcvae export` wrote"),
    (
        ["train", EXPERIMENT, "--training.betas", "[0.9, 1.5]"],
        1,
        "training.betas should be between 0 and 0.999999, but 1.5",
    ),
    (["train", EXPERIMENT, "--training.accelerator", "cuda"], 1, "PyTorch finds no CUDA GPU here; use auto or cpu"),
    (["features", "train", "--training.width", "0"], 1, "width should be between 0.015625 and 4, but 0 came."),
    (["features", "train", "--out", "x.pt"], 1, "--out should end in that, not 'x.pt'"),
    (["features", "train", "--data.channels", "2"], 1, r"channels: expected 3 \(RGB\) or 1 \(luma\), got 2."),
    (["features", "train", "--data.size", "0"], 1, "size: expected at least 1 pixel, got 0."),
    (["features", "train", "--data.crop", "ful"], 1, r"one of auto, authors, full, got 'ful' \(did you mean 'full'"),
    (["demo", "--out", "."], 1, ". is not empty; choose another folder with --out"),
]


if torch.cuda.is_available():
    MISTAKES = [mistake for mistake in MISTAKES if "cuda" not in mistake[0]]


@pytest.mark.parametrize(("argv", "status", "sentence"), MISTAKES, ids=lambda value: str(value)[:40])
def test_mistakes_are_sentences(argv, status, sentence, capsys, run, tmp_path, cache):
    tiny_experiment().save(tmp_path / EXPERIMENT)
    (tmp_path / "bad.yaml").write_text("loss:\n  beeta: 1\n")
    (tmp_path / "judge.safetensors").write_bytes(b"")
    (tmp_path / "broken.yaml").write_text("loss: [1\n")
    assert main([str(run) if a == "RUN" else a for a in argv]) == status
    error = capsys.readouterr().err
    assert re.search(sentence, error), error
    assert "\ndfcvae: " in f"\n{error}"  # `sample` says its prior before
    assert "Traceback" not in error


def test_debug_shows_the_traceback(capsys):
    from dfcvae.errors import UserError

    with pytest.raises(UserError):
        main(["sample", "nothing", "--debug"])


def test_a_full_gpu_is_a_sentence(monkeypatch, capsys):
    def full(arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")

    monkeypatch.setattr("dfcvae.commands.sample", full)
    assert main(["sample", "somewhere"]) == 1
    assert re.fullmatch(
        r"dfcvae: the GPU is out of memory\. Lower training\.batch_size, .*never\.\n", capsys.readouterr().err
    )


def test_interpolate_between_test_faces_and_files(run, capsys, tmp_path):
    written = [f"{width}.png" for width in (90, 64, 200)]
    for file in written:
        Image.new("RGB", (int(file[:-4]), 110), (200, 150, int(file[:-4]))).save(file)

    def size(file):
        with Image.open(file) as image:
            return image.size

    ok(capsys, "interpolate", run, "--steps", 5)
    assert size("interpolation.png") == (7 * 34 + 2, 36)  # the two originals at the ends
    ok(capsys, "interpolate", run, "-n", 4, "--steps", 3, "--out", "grid.png", "--spherical")
    assert size("grid.png") == (3 * 34 + 2, 3 * 34 + 2)
    ok(capsys, "interpolate", run, *written, "--steps", 4, "--out", "legs.png")
    assert size("legs.png") == (6 * 34 + 2, 2 * 34 + 2)
    ok(capsys, "interpolate", run, "--steps", 6, "--out", "way.gif")
    with Image.open("way.gif") as moving:
        assert (moving.format, moving.size) == ("GIF", (192, 192))
        assert 5 < moving.n_frames <= 10  # there and back; equal neighbours are one frame
    ok(capsys, "interpolate", run, "--random", "-n", 3, "--steps", 5, "--seed", 4, "--out", "random.png")
    assert size("random.png") == (5 * 34 + 2, 2 * 34 + 2)  # no originals
    assert main(["interpolate", str(run), "-n", "1"]) == 1
    assert "A way has two faces or more and 2 steps or more; 1 and 8 came" in capsys.readouterr().err
