"""Arguments of the commands that measure models."""

from pathlib import Path
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae.options.words import MODEL, SOURCE, SOURCE_PATH
from dfcvae.parsing import Parser


def evaluate(parser: Parser) -> None:
    """Of `dfcvae evaluate`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    _judges(parser, "adds what it sees of reconstructions, and the distance of samples")
    _distances(parser)
    iwae = "also the importance-weighted bound on ln p(x), which costs so many decoded draws per image"
    parser.add_argument("--iwae", type=PositiveInt | None, metavar="K", help=iwae)
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of samples, draws and resampled images")
    parser.add_argument("--out", type=Path | None, help="also write the measures as JSON")


def probe(parser: Parser) -> None:
    """Of `dfcvae probe`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--out", type=Path | None, help="also write all scores as JSON")


def compare(parser: Parser) -> None:
    """Of `dfcvae compare`."""
    parser.usage = "dfcvae compare MODEL MODEL [MODEL ...] [--judge FILE ...] [--out DIR]"
    parser.add_argument("models", nargs="+", help=f"{MODEL}; the others are compared with the first")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    _judges(parser, "none of the models should be trained with it")
    _distances(parser)
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of samples, draws and resampled images")
    out = "folder of report.html, report.md, metrics.json and the figures"
    parser.add_argument("--out", type=Path, default=Path("comparison"), help=out)


def paper(parser: Parser) -> None:
    """Of `dfcvae paper`."""
    parser.add_argument("source", type=str, help=SOURCE_PATH)
    parser.add_argument("--size", type=PositiveInt, default=64, help="pixels of a side: 32, 64, 128 or 256")
    parser.add_argument("--epochs", type=PositiveInt, default=5, help="of every training")
    parser.add_argument("--seeds", type=PositiveInt, default=3, help="trainings of every model")
    parser.add_argument("--train_images", type=PositiveInt | None, help="use the first so many training images")
    features = "weights of the feature network: imagenet, in-domain (trained here, on the attributes), or a file"
    parser.add_argument("--features", type=str, default="imagenet", help=features)
    _judges(parser, "default: an attribute network is trained here")
    _distances(parser)
    parser.add_argument("--out", type=Path, default=Path("paper"), help="folder of everything; goes on where it was")


def ablate(parser: Parser) -> None:
    """Of `dfcvae ablate`."""
    parser.add_argument("study", type=Path, help="a study: experiments/ablation_layers.yaml, or one of your own")
    out = "folder of everything; goes on where it was (default: studies/NAME)"
    parser.add_argument("--out", type=Path | None, help=out)
    change = "change the base for all variants, such as data.source=celeba training.epochs=5"
    parser.add_argument("--set", nargs="+", action="extend", default=[], metavar="FIELD=VALUE", help=change)
    parser.add_argument(
        "--seeds", type=PositiveInt | None, help="trainings of every variant (default: as the study says)"
    )
    _judges(parser, "default: an attribute network is trained here")
    _distances(parser)
    workers = "runs at a time on this machine (default: one for each GPU, or for two processors)"
    parser.add_argument("--workers", type=PositiveInt | None, help=workers)
    parser.add_argument(
        "--ray", type=str | None, metavar="ADDRESS", help="do the runs on a Ray cluster: auto, HOST:PORT"
    )
    parser.add_argument("--only", type=str | None, metavar="RUN", help="do this run alone, VARIANT-SEED, and no report")
    parser.add_argument("--report", action="store_true", help="train nothing: the report of what is finished")
    files = "print a SLURM job array, or a sweep of Weights & Biases, that does the runs"
    parser.add_argument("--print", type=Literal["slurm", "sweep"] | None, help=files)


def _judges(parser: Parser, more: str) -> None:
    judge = (
        "a network that judges: an attribute network of `dfcvae features train`, or a YAML file that describes any "
        f"other one (docs/evaluation.md); may be repeated; {more}"
    )
    parser.add_argument("--judge", type=Path, nargs=1, action="extend", default=[], metavar="FILE", help=judge)


def _distances(parser: Parser) -> None:
    fid = "also FID and KID of samples, which need torch-fidelity and Inception's weights: FILE, or downloaded once"
    parser.add_argument("--fid", type=str | None, nargs="?", const="download", metavar="FILE", help=fid)
    lpips = "download the weights of LPIPS where they are missing; it is left out otherwise"
    parser.add_argument("--lpips", action="store_true", help=lpips)
