"""The command line: parse, then call one function of `dfcvae.commands`, imported only then, as torch is heavy."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae import __version__
from dfcvae.config import DataConfig, FeatureTraining
from dfcvae.errors import UserError
from dfcvae.parsing import Parser, UsageError, add_experiment_arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status: 0, 1 for a failure, 2 for a mistaken command line."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    try:
        parser = _parser()
        parsed = parser.instantiate(parser.parse_args(_experiment_as_config(argv)))
        name, arguments = parsed.command, parsed[parsed.command]
        if "subcommand" in arguments:
            name, arguments = f"{name}_{arguments.subcommand}", arguments[arguments.subcommand]
        from dfcvae import commands

        getattr(commands, name)(arguments)
    except UserError as error:
        if debug:
            raise
        print(f"dfcvae: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except OSError as error:
        if debug:
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"dfcvae: {what}. Check the path, its permissions and the free space.", file=sys.stderr)
        return 1
    except RuntimeError as error:
        if debug or type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported here
            raise
        print(
            "dfcvae: the GPU is out of memory. Lower training.batch_size, raise training.parts, or set "
            "loss.features.cache_targets to never.",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        print(
            "dfcvae: interrupted; decoding goes on where it was, training from its last checkpoint with --resume.",
            file=sys.stderr,
        )
        return 130
    return 0


def _experiment_as_config(argv: list[str]) -> list[str]:
    """``train FILE ...`` as ``train --config FILE ...``, which is how jsonargparse takes a file of fields."""
    if argv[:1] != ["train"] or {"-h", "--help", "--config"} & set(argv):
        return argv
    if len(argv) < 2 or argv[1].startswith("-"):
        raise UsageError("Name an experiment first: dfcvae train EXPERIMENT.yaml [--FIELD VALUE ...].")
    return ["train", "--config", *argv[1:]]


def _parser() -> Parser:
    parser = Parser(
        prog="dfcvae",
        version=__version__,
        description="Deep Feature Consistent VAE: train, sample and study VAEs with a feature-perceptual loss.",
        epilog="--debug shows the traceback of an error.",
    )
    commands = parser.add_subcommands(dest="command", metavar="COMMAND")
    for name, (help, add_arguments) in COMMANDS.items():
        command = Parser(description=f"{help[0].upper()}{help[1:]}.")
        commands.add_subcommand(name, command, help=help)
        add_arguments(command)
    return parser


def _demo(parser: Parser) -> None:
    parser.add_argument("--out", type=Path, default=Path("dfcvae-demo"), help="folder of the report")
    size = "pixels of a side: 32, 64, 128 or 256; the time grows with their square"
    parser.add_argument("--size", type=PositiveInt, default=64, help=size)
    parser.add_argument("--channels", type=PositiveInt, default=3, help="3 (RGB) or 1 (grey)")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)


def _train(parser: Parser) -> None:
    parser.usage = "dfcvae train EXPERIMENT.yaml [--out DIR] [--resume] [--FIELD VALUE ...]"
    parser.add_argument("--out", type=Path | None, help="run folder (default: runs/NAME)")
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint in the run folder")
    add_experiment_arguments(parser)


def _sample(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("-n", "--count", type=PositiveInt, default=64, help="number of faces")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)
    prior = "N(0, I), or what was fitted to the latents of the training faces (at first use, and then kept)"
    parser.add_argument("--prior", type=Literal["normal", "gaussian", "gmm"], default="normal", help=prior)
    parser.add_argument("--temperature", type=float, default=1.0, help="factor of the prior's standard deviation")
    parser.add_argument("--source", type=str | None, help=FITTED)
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help=OUT)
    parser.add_argument("--each", action="store_true", help="one PNG per face instead of a grid")


def _reconstruct(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("images", nargs="*", type=Path, help="image files (default: faces of the test split)")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("-n", "--count", type=PositiveInt, default=8, help="number of test faces")
    parser.add_argument("--out", type=Path, default=Path("reconstructions.png"), help=OUT)
    parser.add_argument("--each", action="store_true", help="one PNG per reconstruction instead of a grid")


def _interpolate(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument(
        "images", nargs="*", type=Path, help="two image files or more (default: faces of the test split)"
    )
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("-n", "--count", type=PositiveInt, default=2, help="number of test faces; 4 make a grid")
    parser.add_argument("--random", action="store_true", help="between draws from the prior instead of faces")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the draws")
    parser.add_argument("--steps", type=PositiveInt, default=8, help="faces from one to the next, both included")
    parser.add_argument("--spherical", action="store_true", help="along great circles instead of straight lines")
    parser.add_argument("--out", type=Path, default=Path("interpolation.png"), help=MOVES)


def _traverse(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("image", nargs="?", type=Path, help="an image file (default: the first face of the test split)")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--dimensions", type=PositiveInt, default=10, help="how many, from the most informative on")
    parser.add_argument("--reach", type=float, default=3.0, help="from minus to plus so many standard deviations")
    parser.add_argument("--steps", type=PositiveInt, default=9)
    parser.add_argument("--out", type=Path, default=Path("traversal.png"), help=MOVES)


def _attributes(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=FITTED)
    method = "the difference of the class means, or the normal of a linear classifier"
    parser.add_argument("--method", type=Literal["means", "classifier"], default="means", help=method)
    balance = "attributes in which faces with and without another shall not differ"
    parser.add_argument("--balance", nargs="+", default=[], metavar="NAME", help=balance)
    out = "drawing of the correlations (PNG); the numbers lie beside it as CSV"
    parser.add_argument("--out", type=Path, default=Path("attributes.png"), help=out)


def _edit(parser: Parser) -> None:
    parser.usage = "dfcvae edit MODEL [IMAGE ...] NAME=STRENGTH [NAME=FROM:TO ...] [--keep NAME ...] [--out FILE]"
    parser.add_argument("model", help=MODEL)
    words = "image files (default: faces of the test split), and edits: Smiling=+1.5, or Smiling=-2:2 for a way"
    parser.add_argument("words", nargs="+", help=words)
    parser.add_argument("--keep", nargs="+", default=[], metavar="NAME", help="attributes to leave as they are")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("-n", "--count", type=PositiveInt, default=8, help="number of test faces")
    parser.add_argument("--steps", type=PositiveInt, default=7, help="faces along a way")
    parser.add_argument("--out", type=Path, default=Path("edited.png"), help=f"{MOVES}, or a folder with --each")
    parser.add_argument("--each", action="store_true", help="one PNG per edited face")


def _map(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--method", type=Literal["tsne", "pca"], default="tsne")
    parser.add_argument("--attributes", nargs="+", default=[], metavar="NAME", help="to colour by")
    parser.add_argument("-n", "--count", type=PositiveInt, default=2000, help="number of test faces")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of t-SNE")
    out = "dots (PNG); the faces themselves in NAME-faces.png"
    parser.add_argument("--out", type=Path, default=Path("map.png"), help=out)


def _neighbours(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=FITTED)
    parser.add_argument("--judge", type=Path | None, help="compare in the features of this attribute network too")
    parser.add_argument("-n", "--count", type=PositiveInt, default=8, help="number of samples")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)
    parser.add_argument("--out", type=Path, default=Path("neighbours.png"), help="a PNG")


def _evaluate(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    judge = "attribute network, made by `dfcvae features train`: adds what it sees, and the distance of samples"
    parser.add_argument("--judge", type=Path | None, help=judge)
    iwae = "also the importance-weighted bound on ln p(x), which costs so many decoded draws per image"
    parser.add_argument("--iwae", type=PositiveInt | None, metavar="K", help=iwae)
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of samples, draws and resampled images")
    parser.add_argument("--out", type=Path | None, help="also write the measures as JSON")


def _probe(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--out", type=Path | None, help="also write all scores as JSON")


def _export(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--out", type=Path, required=True, help="folder")


def _explore(parser: Parser) -> None:
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in")
    parser.add_argument("--port", type=PositiveInt, default=8080, help="if it is in use, the next free one is taken")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def _features(parser: Parser) -> None:
    train = Parser(description="Train a feature network on the attributes of a data set.")
    train.add_class_arguments(DataConfig, "data")
    train.add_class_arguments(FeatureTraining, "training")
    train.add_argument(
        "--out", type=Path, default=Path("features.safetensors"), help="file of the weights (.safetensors)"
    )
    table = Parser(description="List the layers of a VGG: what there is to choose from for a perceptual loss.")
    table.add_argument("arch", type=str, nargs="?", default="vgg19_bn", help="vgg11, 13, 16 or 19, or with _bn")
    table.add_argument("--size", type=PositiveInt, default=64, help="pixels of a side of the images")
    commands = parser.add_subcommands(metavar="COMMAND")
    commands.add_subcommand("train", train, help="train one on attributes")
    commands.add_subcommand("list", table, help="list the layers of a VGG")


def _data(parser: Parser) -> None:
    info = Parser(description="Tell what data set lies at a path.")
    info.add_argument("source", type=str, help=SOURCE_PATH)
    info.add_argument("--sheet", type=Path | None, help="draw a contact sheet into this PNG, cropped as below")
    info.add_argument("--full", action="store_true", help="look at every file of a set of more than 10,000")
    info.add_class_arguments(DataConfig, skip={"source", "flip", "train_images", "strict"})
    prepare = Parser(
        description="Decode a data set into the cache ahead of training; goes on where it was interrupted."
    )
    prepare.add_argument("source", type=str, help=SOURCE_PATH)
    prepare.add_argument(
        "--workers", type=PositiveInt, default=None, help="decoding processes (default: one per processor)"
    )
    prepare.add_class_arguments(DataConfig, skip={"source", "flip", "train_images", "strict"})
    prepare.add_argument("--strict", action="store_true", help="refuse missing or unreadable images")
    check = Parser(description="Verify the checksums of decoded data.")
    check.add_argument("source", type=str | None, nargs="?", help="a data set (default: all caches)")
    check.add_argument("--split_seed", type=int, default=0, help="with which it was prepared")
    commands = parser.add_subcommands(metavar="COMMAND")
    commands.add_subcommand("info", info, help="layout, counts, sizes, attributes and faults of a data set")
    commands.add_subcommand("prepare", prepare, help="decode it into the cache ahead of training")
    commands.add_subcommand("check", check, help="verify the checksums of decoded data")


def _bench(parser: Parser) -> None:
    parser.add_argument("--size", type=PositiveInt, default=64, help="pixels of a side: 32, 64, 128 or 256")
    parser.add_argument("--batch_size", type=PositiveInt, default=64, help="images in a step")
    parser.add_argument("--rounds", type=PositiveInt, default=3, help="how often every row has its turn")
    parser.add_argument("--steps", type=PositiveInt | None, help="timed steps in a turn (default: 1; on a GPU 100)")
    parser.add_argument("--accelerator", type=Literal["auto", "cpu", "cuda"], default="auto")
    layers = "of vgg19_bn, by index or name: what is compared"
    parser.add_argument("--layers", type=list[int | str], default=[14, 24, 34, 43], help=layers)
    scaling = "instead: how the time grows with the batch, the size of the images, the layers and the processes"
    parser.add_argument("--scaling", action="store_true", help=scaling)
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="all numbers, as JSON")


MODEL = "a run folder, a checkpoint, or an exported folder"
SOURCE_PATH = "a folder of images, CelebA in any layout (folder, zip, parquet files), or 'synthetic'"
SOURCE = "where the faces come from: a path as in `dfcvae data info`, or 'synthetic' (default: as in training)"
FITTED = "where the training faces are (default: as in training)"
MOVES = "a PNG, or a GIF or MP4 that moves"
OUT = "a PNG, or a folder with --each"
COMMANDS = {
    "demo": ("train a plain VAE and a DFC-VAE on synthetic faces and write a report", _demo),
    "train": ("train an experiment", _train),
    "sample": ("draw faces from the prior", _sample),
    "reconstruct": ("show originals beside reconstructions", _reconstruct),
    "interpolate": ("show the way from face to face", _interpolate),
    "traverse": ("show what single latent dimensions do", _traverse),
    "attributes": ("fit the vectors of attributes and show how they hang together", _attributes),
    "edit": ("change attributes of faces", _edit),
    "map": ("lay faces out in the plane by their latents", _map),
    "neighbours": ("show the training faces nearest to samples", _neighbours),
    "explore": ("look at a model and play with it in the browser", _explore),
    "evaluate": ("measure a model on the test split", _evaluate),
    "probe": ("measure what linear classifiers read of attributes in the latents", _probe),
    "export": ("write a model as safetensors and JSON", _export),
    "features": ("list the layers of feature networks, and train them", _features),
    "data": ("look at data sets and prepare them", _data),
    "bench": ("measure what a training step costs, beside the popular implementations'", _bench),
}
