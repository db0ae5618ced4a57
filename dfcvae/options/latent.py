"""Arguments of the commands that show and steer the latent space."""

from pathlib import Path
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae.options.words import FITTED, MODEL, MOVES, PRIOR, SOURCE, Prior
from dfcvae.parsing import Parser


def interpolate(parser: Parser) -> None:
    """Of `dfcvae interpolate`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument(
        "images", nargs="*", type=Path, help="two image files or more (default: faces of the test split)"
    )
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("-n", "--count", type=PositiveInt, default=2, help="number of test faces; 4 make a grid")
    parser.add_argument("--random", action="store_true", help="between draws from the prior instead of faces")
    parser.add_argument("--prior", type=Prior, default="auto", help=f"of the draws; {PRIOR}")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of the draws")
    parser.add_argument("--steps", type=PositiveInt, default=8, help="faces from one to the next, both included")
    parser.add_argument("--spherical", action="store_true", help="along great circles instead of straight lines")
    parser.add_argument("--out", type=Path, default=Path("interpolation.png"), help=MOVES)


def traverse(parser: Parser) -> None:
    """Of `dfcvae traverse`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("image", nargs="?", type=Path, help="an image file (default: the first face of the test split)")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--dimensions", type=PositiveInt, default=10, help="how many, from the most informative on")
    parser.add_argument("--reach", type=float, default=3.0, help="from minus to plus so many standard deviations")
    parser.add_argument("--steps", type=PositiveInt, default=9)
    parser.add_argument("--out", type=Path, default=Path("traversal.png"), help=MOVES)


def attributes(parser: Parser) -> None:
    """Of `dfcvae attributes`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=FITTED)
    method = "the difference of the class means, or the normal of a linear classifier"
    parser.add_argument("--method", type=Literal["means", "classifier"], default="means", help=method)
    balance = "attributes in which faces with and without another shall not differ"
    parser.add_argument("--balance", nargs="+", default=[], metavar="NAME", help=balance)
    out = "drawing of the correlations (PNG); the numbers lie beside it as CSV"
    parser.add_argument("--out", type=Path, default=Path("attributes.png"), help=out)


def edit(parser: Parser) -> None:
    """Of `dfcvae edit`."""
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


def map(parser: Parser) -> None:
    """Of `dfcvae map`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--method", type=Literal["tsne", "pca"], default="tsne")
    parser.add_argument("--attributes", nargs="+", default=[], metavar="NAME", help="to colour by")
    parser.add_argument("-n", "--count", type=PositiveInt, default=2000, help="number of test faces")
    parser.add_argument("--seed", type=NonNegativeInt, default=0, help="of t-SNE")
    out = "dots (PNG); the faces themselves in NAME-faces.png"
    parser.add_argument("--out", type=Path, default=Path("map.png"), help=out)


def neighbours(parser: Parser) -> None:
    """Of `dfcvae neighbours`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--source", type=str | None, help=FITTED)
    parser.add_argument("--judge", type=Path | None, help="compare in the features of this attribute network too")
    parser.add_argument("-n", "--count", type=PositiveInt, default=8, help="number of samples")
    parser.add_argument("--prior", type=Prior, default="auto", help=f"of the samples; {PRIOR}")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)
    parser.add_argument("--out", type=Path, default=Path("neighbours.png"), help="a PNG")
