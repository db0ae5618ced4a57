"""The command line: parse, then call one function of `dfcvae.commands`, imported only then, as torch is heavy."""

import sys
from collections.abc import Sequence
from io import TextIOWrapper

from jsonargparse import Namespace

from dfcvae import __version__
from dfcvae.errors import PreemptedError, UserError
from dfcvae.options import COMMANDS
from dfcvae.parsing import Parser, UsageError

TRY_AGAIN = 75
TOO_MUCH = ("can't allocate memory", "Storage size calculation overflowed", "Overflow when unpacking long")
"""What torch says when it is asked for more numbers than fit into memory, or can be counted."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0; 1 for a failure, 2 for a mistaken command line; 75 (EX_TEMPFAIL: try again) for a run that a signal ended and
    that was saved before, 130 for Ctrl+C.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    argv = [argument for argument in argv if argument != "--debug"]
    try:
        parsed = parse(argv)
        name, arguments = parsed.command, parsed[parsed.command]
        if "subcommand" in arguments:
            name, arguments = f"{name}_{arguments.subcommand}", arguments[arguments.subcommand]
        from dfcvae import commands

        getattr(commands, name)(plain_numbers(arguments))
    except UserError as error:
        if debug:
            raise
        print(f"dfcvae: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except PreemptedError as error:
        print(f"dfcvae: {error}", file=sys.stderr)
        return TRY_AGAIN
    except OSError as error:
        if debug:
            raise
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        print(f"dfcvae: {what}. Check the path, its permissions and the free space.", file=sys.stderr)
        return 1
    except (RuntimeError, TypeError, MemoryError) as error:
        told = _no_memory(error)
        if debug or told is None:
            raise
        print(f"dfcvae: {told}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(
            "dfcvae: interrupted; training resumes from its last checkpoint with --resume.",
            file=sys.stderr,
        )
        return 130
    return 0


def parse(argv: list[str]) -> Namespace:
    """A command line as typed values.

    Raises:
        UsageError: if it is mistaken.
    """
    parser = _parser()
    return parser.instantiate(parser.parse_args(_experiment_as_config(argv)))


def plain_numbers(arguments: Namespace) -> Namespace:
    """Arguments with Python's integers for jsonargparse's kinds of them, which no checkpoint or YAML file may hold."""
    for name, value in vars(arguments).items():
        if isinstance(value, int) and not isinstance(value, bool):
            arguments[name] = int(value)
    return arguments


def _no_memory(error: Exception) -> str | None:
    """The sentence for an error that says that memory is full; None for any other."""
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return (
            "the GPU is out of memory. Lower training.batch_size, raise training.parts, or set "
            "loss.features.cache_targets to never."
        )
    if isinstance(error, MemoryError) or any(told in str(error) for told in TOO_MUCH):
        return "there is not enough memory for that. Ask for fewer or smaller images at once, or for a smaller model."
    return None


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
