"""Arguments of the commands that train, prepare for training, and measure its speed."""

from pathlib import Path
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae.config import DataConfig
from dfcvae.feature_config import Distillation, FeatureTraining
from dfcvae.options.words import SOURCE_PATH
from dfcvae.parsing import Parser, add_experiment_arguments


def demo(parser: Parser) -> None:
    """Of `dfcvae demo`."""
    parser.add_argument("--out", type=Path, default=Path("dfcvae-demo"), help="folder of the report")
    size = "pixels of a side: 32, 64, 128 or 256; the time grows with their square"
    parser.add_argument("--size", type=PositiveInt, default=64, help=size)
    parser.add_argument("--channels", type=PositiveInt, default=3, help="3 (RGB) or 1 (grey)")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)


def train(parser: Parser) -> None:
    """Of `dfcvae train`."""
    parser.usage = "dfcvae train EXPERIMENT.yaml [--out DIR] [--resume [auto]] [--FIELD VALUE ...]"
    parser.add_argument("--out", type=Path | None, help="run folder (default: runs/NAME)")
    resume = "go on from the last checkpoint in the run folder; auto: if there is one"
    parser.add_argument(
        "--resume", type=Literal["auto"] | bool, nargs="?", const=True, default=False, metavar="auto", help=resume
    )
    add_experiment_arguments(parser)


def features(parser: Parser) -> None:
    """Of `dfcvae features`."""
    train = Parser(description="Train a feature network on the attributes of a data set.")
    train.add_class_arguments(DataConfig, "data")
    train.add_class_arguments(FeatureTraining, "training")
    train.add_argument(
        "--out", type=Path, default=Path("features.safetensors"), help="file of the weights (.safetensors)"
    )
    distil = Parser(description="Distil a small feature network from a large one, on faces and disturbed faces.")
    teachers = (
        "the large network: a weights file of a VGG, or imagenet (vgg19's); of several, the first with a tap counts"
    )
    distil.add_argument("teachers", nargs="+", type=str, help=teachers)
    distil.add_class_arguments(DataConfig, "data", skip={"size"})
    distil.add_class_arguments(Distillation, "student")
    distil.add_argument("--vae", type=str | None, metavar="MODEL", help="its reconstructions are disturbed faces too")
    distil.add_argument("--out", type=Path, default=Path("student.safetensors"), help="file of the weights")
    table = Parser(description="List the layers of a VGG: what there is to choose from for a perceptual loss.")
    table.add_argument("arch", type=str, nargs="?", default="vgg19_bn", help="vgg11, 13, 16 or 19, or with _bn")
    table.add_argument("--size", type=PositiveInt, default=64, help="pixels of a side of the images")
    commands = parser.add_subcommands(metavar="COMMAND")
    commands.add_subcommand("train", train, help="train one on attributes")
    commands.add_subcommand("distil", distil, help="distil a small one from a large one")
    commands.add_subcommand("list", table, help="list the layers of a VGG")


def data(parser: Parser) -> None:
    """Of `dfcvae data`."""
    info = Parser(description="Tell what data set lies at a path.")
    info.add_argument("source", type=str, help=SOURCE_PATH)
    info.add_argument("--sheet", type=Path | None, help="draw a contact sheet into this PNG, cropped as below")
    info.add_argument("--full", action="store_true", help="look at every file of a set of more than 10,000")
    info.add_class_arguments(DataConfig, skip={"source", "flip", "train_images", "strict"})
    prepare = Parser(description="Decode a data set into the cache ahead of training.")
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


def bench(parser: Parser) -> None:
    """Of `dfcvae bench`."""
    parser.add_argument("--size", type=PositiveInt, default=64, help="pixels of a side: 32, 64, 128 or 256")
    parser.add_argument("--batch_size", type=PositiveInt, default=64, help="images in a step")
    parser.add_argument("--rounds", type=PositiveInt | None, help="turns of every row (default: 3, with --quick 1)")
    parser.add_argument("--steps", type=PositiveInt | None, help="timed steps in a turn (default: 2; on a GPU 50)")
    parser.add_argument("--accelerator", type=Literal["auto", "cpu", "cuda"], default="auto")
    parser.add_argument("--quick", action="store_true", help="only the rows that every machine has")
    parser.add_argument("--out", type=Path, default=Path("bench.json"), help="all numbers, as JSON")
