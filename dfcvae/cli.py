"""The command line: a parser for each function of `dfcvae.commands`, made of its signature and docstring."""

import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import is_dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin

import docstring_parser

from dfcvae import __version__
from dfcvae.commands import COMMANDS
from dfcvae.config import Experiment, add_experiment, experiment_words, to_experiment
from dfcvae.errors import PreemptedError, UsageError, UserError, nearest
from dfcvae.parsing import Parser
from dfcvae.ranges import check, type_hints

TRY_AGAIN = 75
SHORT = {"count": "-n"}
BARE = {"resume": True, "fid": "download"}  # what an option without its value stands for
UNUSED = {"features distil": {"size"}}  # fields of a data configuration: the student's sizes count
NO_MEMORY = ("can't allocate memory", "Storage size calculation overflowed", "Overflow when unpacking long")  # PyTorch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0; 1 for a failure, 2 for a mistaken command line or configuration; 75 (EX_TEMPFAIL: try again) for a run that a
    signal ended after a checkpoint, 130 for Ctrl+C.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    try:
        command, arguments = parse([argument for argument in argv if argument != "--debug"])
        command(**arguments)
    except (Exception, KeyboardInterrupt) as error:
        told = _explain(error)
        if told is None or (debug and isinstance(error, Exception)):
            raise
        message, status = told
        print(f"dfcvae: {message}", file=sys.stderr)
        return status
    return 0


def parse(argv: Sequence[str]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The function that a command line names, and the arguments to call it with.

    Raises:
        UserError: if it is mistaken.
    """
    name = next((name for n in (2, 1) if (name := " ".join(argv[:n])) in COMMANDS), None)
    if name is None:
        _without_command(argv)
    command, words = COMMANDS[name], list(argv[len(name.split()) :])
    hints, parser = type_hints(command), command_parser(name)
    if Experiment in hints.values() and not {"-h", "--help", "--config"} & set(words):
        if not words or words[0].startswith("-"):
            raise UsageError(f"Name an experiment first: {parser.usage}.")
        words = experiment_words(words[0], words[1:])
    values = parser.values(words)
    arguments = {
        argument: to_experiment(values) if hints[argument] is Experiment else values[argument]
        for argument in inspect.signature(command).parameters
    }
    check(arguments, hints)
    return command, arguments


def command_parser(name: str) -> Parser:
    """The parser of a command: arguments before ``*`` are positional, those behind it are options."""
    command = COMMANDS[name]
    told = docstring_parser.parse(command.__doc__ or "")
    helps = {entry.arg_name: (entry.description or "").rstrip(".") for entry in told.params}
    parser = Parser(prog=f"dfcvae {name}", description=told.short_description)
    for argument, parameter in inspect.signature(command).parameters.items():
        hint = type_hints(command)[argument]
        if hint is Experiment:
            parser.usage = f"{parser.prog} EXPERIMENT.yaml [--FIELD VALUE ...]"
            add_experiment(parser)
        elif is_dataclass(hint):
            skip: set[str | int] = set(UNUSED.get(name, ())) if argument == "data" else set()
            parser.add_class_arguments(hint, argument, skip=skip)
        else:
            flags = [f"--{argument}", *([SHORT[argument]] if argument in SHORT else [])]
            given = parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            parser.add_argument(*([argument] if given else flags), help=helps[argument], **_how(parameter, hint))
    return parser


def _how(parameter: inspect.Parameter, hint: Any) -> dict[str, Any]:
    """What argparse needs to know of an argument: a Sequence is several words, a bool an option without a value."""
    needed, several = parameter.default is parameter.empty, get_origin(hint) is Sequence
    kind = get_args(hint)[0] if several else hint
    how: dict[str, Any] = {"type": kind}
    if not needed:
        how["default"] = list(parameter.default) if several else parameter.default
    if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
        nargs = ("+" if needed else "*") if several else (None if needed else "?")
        return how | ({"nargs": nargs} if nargs else {})
    if hint is bool:
        return {"action": "store_true"}
    if parameter.name in BARE:
        return how | {"nargs": "?", "const": BARE[parameter.name]}
    if several:
        return how | {"nargs": 1 if kind is Path else "+", "action": "extend"}
    return how | {"required": needed}


def _without_command(argv: Sequence[str]) -> NoReturn:
    """Show help or the version, or raise a UsageError."""
    first = argv[0] if argv else ""
    group = f"{first} " if any(name.startswith(f"{first} ") for name in COMMANDS) else ""
    rest = argv[1:] if group else argv
    names = [name for name in COMMANDS if name.startswith(group)]
    if rest and rest[0] in ("-h", "--help", "--version"):
        lines = [f"  {name:<17}{_summary(COMMANDS[name])}" for name in names]
        about = [
            "Deep Feature Consistent VAE: train, sample and study VAEs with a feature-perceptual loss.",
            "",
            *lines,
        ]
        about += ["", "dfcvae COMMAND --help describes a command; --debug shows the traceback of an error."]
        usage = [f"usage: dfcvae {group}COMMAND [ARGUMENTS]", ""]
        print(f"dfcvae {__version__}" if rest[0] == "--version" else "\n".join(usage + about))
        raise SystemExit(0)
    words = list(dict.fromkeys(name.removeprefix(group).split()[0] for name in names))
    if not rest:
        raise UsageError(f"Name a command: dfcvae {group}COMMAND, one of {', '.join(words)}; --help describes them.")
    raise UsageError(
        f"There is no command {group + rest[0]!r}{nearest(rest[0], words)}; expected one of {', '.join(words)}."
    )


def _summary(command: Callable[..., None]) -> str:
    return (docstring_parser.parse(command.__doc__ or "").short_description or "").rstrip(".")


def _explain(error: BaseException) -> tuple[str, int] | None:
    """The sentence and the exit status for an error; None for one that is a fault of this program."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted; data preparation resumes by itself, training from its last checkpoint with --resume.", 130
    if isinstance(error, PreemptedError):
        return str(error), TRY_AGAIN
    if isinstance(error, UserError):
        return str(error), 2 if isinstance(error, UsageError) else 1
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"{what}. Check the path, its permissions and the free space.", 1
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return (
            "the GPU is out of memory. Lower training.batch_size, raise training.parts, or set "
            "loss.features.cache_targets to never."
        ), 1
    if isinstance(error, MemoryError) or any(told in str(error) for told in NO_MEMORY):
        return "not enough memory. Ask for fewer or smaller images at once, or for a smaller model.", 1
    return None
