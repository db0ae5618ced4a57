"""Arguments of the commands that measure models."""

from pathlib import Path

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae.options.words import MODEL, SOURCE
from dfcvae.parsing import Parser


def evaluate(parser: Parser) -> None:
    """Of `dfcvae evaluate`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    judge = "attribute network, made by `dfcvae features train`: adds what it sees, and the distance of samples"
    parser.add_argument("--judge", type=Path | None, help=judge)
    iwae = "also the importance-weighted bound on ln p(x), which costs so many decoded draws per image"
    parser.add_argument("--iwae", type=PositiveInt | None, metavar="K", help=iwae)
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of samples, draws and resampled images")
    parser.add_argument("--out", type=Path | None, help="also write the measures as JSON")


def probe(parser: Parser) -> None:
    """Of `dfcvae probe`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--out", type=Path | None, help="also write all scores as JSON")
