"""Arguments of the commands that use a model."""

from pathlib import Path
from typing import Literal

from jsonargparse.typing import NonNegativeInt, PositiveInt

from dfcvae.options.words import FITTED, MODEL, OUT, PRIOR, SOURCE, Prior
from dfcvae.parsing import Parser


def sample(parser: Parser) -> None:
    """Of `dfcvae sample`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("-n", "--count", type=PositiveInt, default=64, help="number of faces")
    parser.add_argument("--seed", type=NonNegativeInt, default=0)
    parser.add_argument("--prior", type=Prior, default="auto", help=PRIOR)
    parser.add_argument("--temperature", type=float, default=1.0, help="factor of the prior's standard deviation")
    parser.add_argument("--source", type=str | None, help=FITTED)
    parser.add_argument("--out", type=Path, default=Path("samples.png"), help=OUT)
    parser.add_argument("--each", action="store_true", help="one PNG per face instead of a grid")


def reconstruct(parser: Parser) -> None:
    """Of `dfcvae reconstruct`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("images", nargs="*", type=Path, help="image files (default: faces of the test split)")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("-n", "--count", type=PositiveInt, default=8, help="number of test faces")
    parser.add_argument("--out", type=Path, default=Path("reconstructions.png"), help=OUT)
    parser.add_argument("--each", action="store_true", help="one PNG per reconstruction instead of a grid")


def export(parser: Parser) -> None:
    """Of `dfcvae export`."""
    parser.add_argument("model", help=MODEL)
    parser.add_argument("--out", type=Path, required=True, help="folder")
    dtype = "of the weights in the file; float16 and bfloat16 halve it, and load as float32"
    parser.add_argument("--dtype", type=Literal["float32", "float16", "bfloat16"], default="float32", help=dtype)


def explore(parser: Parser) -> None:
    """Of `dfcvae explore`."""
    parser.add_argument("model", nargs="?", help=f"{MODEL} (default: celeba-64)")
    parser.add_argument("--source", type=str | None, help=SOURCE)
    parser.add_argument("--host", type=str, default="127.0.0.1", help="address to listen on; 0.0.0.0 lets others in")
    parser.add_argument("--port", type=PositiveInt, default=8080, help="if it is in use, the next free one is taken")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")
