"""The command line: a parser for each function of `dfcvae.commands`, made of its signature and docstring."""

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from io import TextIOWrapper
from pathlib import Path
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

import docstring_parser
from jsonargparse import SUPPRESS, ActionConfigFile, ArgumentParser, Namespace

from dfcvae import __version__
from dfcvae.commands import COMMANDS
from dfcvae.commands.arguments import Data
from dfcvae.config import DataConfig, Experiment
from dfcvae.errors import PreemptedError, UsageError, UserError, nearest
from dfcvae.fields import checked, notes, type_hints

TRY_AGAIN = 75
SHORT = {"count": "-n"}
BARE = {"resume": True, "fid": "download"}  # the value of an option given without one
UNUSED = {  # fields of a data configuration that mean nothing to a command
    "data info": {"flip", "train_images", "strict"},
    "data prepare": {"flip", "train_images", "strict"},
    "features distil": {"size"},
}
NO_MEMORY = ("can't allocate memory", "Storage size calculation overflowed", "Overflow when unpacking long")  # PyTorch


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status.

    0; 1 for a failure, 2 for a wrong command line or configuration; 75 (EX_TEMPFAIL: try again) for a run that a
    signal ended after a checkpoint, 130 for Ctrl+C.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # file names may hold what a terminal cannot show
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv
    try:
        command, arguments = parse([word for word in argv if word != "--debug"])
        command(**arguments)
    except BrokenPipeError:  # the reader of the output, such as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at the end
        return 1
    except (Exception, KeyboardInterrupt) as error:
        message, status = _explain(error)
        if not status or (debug and not isinstance(error, (PreemptedError, KeyboardInterrupt))):
            raise
        print(f"dfcvae: {message}", file=sys.stderr)
        return status
    return 0


def parse(argv: Sequence[str]) -> tuple[Callable[..., None], dict[str, Any]]:
    """The function that a command line names, and the arguments to call it with; a UserError if it is wrong."""
    name = next((name for n in (2, 1) if (name := " ".join(argv[:n])) in COMMANDS), None)
    if name is None:
        _without_command(argv)
    command, words = COMMANDS[name], argv[len(name.split()) :]
    hints, parser = type_hints(command), command_parser(name)
    if Experiment in hints.values() and not {"-h", "--help", "--config"} & set(words):
        if not words or words[0].startswith("-"):
            raise UsageError(f"Name an experiment first: {parser.usage}.")
        Experiment.load(words[0])  # whose errors name the field; jsonargparse's do not
        words = ["--config", *words]
    values, arguments = parser.values(words), {}
    for argument in inspect.signature(command).parameters.values():
        kind = hints[argument.name]
        if _at_top(argument, hints):  # a dataclass, of those of its fields that the values contain
            parts = {entry.name: values[entry.name] for entry in fields(kind) if entry.name in values}
            arguments[argument.name] = kind(**parts)
        else:
            arguments[argument.name] = values[argument.name]
    return command, checked(arguments, hints)


class Parser(ArgumentParser):
    """jsonargparse's parser; errors are raised as UsageError."""

    def values(self, words: Sequence[str]) -> Namespace:
        """Typed values from command-line arguments.

        Raises:
            UserError: for an unknown name, or a value of a wrong type or out of range.
        """
        try:
            return self.instantiate(self.parse_args(list(words)))
        except ValueError as error:  # from a field that may be null
            self.error(str(error), error)

    def error(self, message: str, ex: BaseException | None = None) -> NoReturn:
        """Raise jsonargparse's message on one line, with the nearest name for an unknown one.

        For a value of several possible types, the message contains an error for each; the first one is reported.
        """
        first, cause = message.partition("\n")[0], ex
        while cause is not None and cause.__cause__ is not None and "\n" in str(cause):
            cause = cause.__cause__
        if "\n" in message and not first.endswith(":") and isinstance(cause, UserError):
            raise cause  # from a dataclass
        text = f"{first} {cause}" if "\n" in message and cause is not None else message
        hint = self._nearest_name(text) if ex is None or isinstance(ex, KeyError) else ""
        raise UsageError(f"{' '.join(text.split()).rstrip('.')}{hint}.") from ex

    def _nearest_name(self, text: str) -> str:
        names = [str(name) for name, _ in self.get_defaults().items()]
        names += [name.rpartition(".")[2] for name in names]
        words = [word.strip("-'") for word in text.split() if word.startswith(("--", "'"))]
        return next((hint for word in words if word not in names and (hint := nearest(word, names))), "")


def command_parser(name: str) -> Parser:
    """The parser of a command.

    Arguments before ``*`` are positional, those behind it are options. Of a dataclass before ``*``, each field is an
    option; behind it, the options have the argument's name in front.
    """
    command = COMMANDS[name]
    hints, plain, docs = type_hints(command), get_type_hints(command), docstring_parser.parse(command.__doc__ or "")
    more = {entry.arg_name: (entry.description or "").rstrip(".") for entry in docs.params}
    parser = Parser(prog=f"dfcvae {name}", description=docs.short_description, allow_abbrev=False)
    for argument in inspect.signature(command).parameters.values():
        hint, skip = hints[argument.name], UNUSED.get(name, set())
        if hint is Experiment:
            parser.usage = f"dfcvae {name} EXPERIMENT.yaml [--FIELD VALUE ...]"
            parser.add_argument("--config", action=ActionConfigFile, help=SUPPRESS)
            parser.add_class_arguments(Experiment)
        elif hint is DataConfig and _at_top(argument, hints):
            parser.add_argument("source", type=str, help=notes(Data)[0])
            parser.add_class_arguments(hint, skip=skip | {"source"})
        elif is_dataclass(hint):
            parser.add_class_arguments(hint, argument.name, skip=skip if hint is DataConfig else None)
        else:
            help = "; ".join(filter(None, [*notes(hint), more.get(argument.name)]))
            _add_argument(parser, argument, plain[argument.name], help)
    return parser


def _at_top(argument: inspect.Parameter, hints: dict[str, Any]) -> bool:
    return is_dataclass(hints[argument.name]) and argument.kind is argument.POSITIONAL_OR_KEYWORD


def _add_argument(parser: Parser, argument: inspect.Parameter, hint: Any, help: str) -> None:
    """Add an argument: a Sequence is several words, a bool an option without a value."""
    needed, several = argument.default is argument.empty, get_origin(hint) is Sequence
    kind = get_args(hint)[0] if several else hint
    how: dict[str, Any] = {"type": kind, "help": help}
    if not needed:
        how["default"] = list(argument.default) if several else argument.default
    if argument.kind is argument.POSITIONAL_OR_KEYWORD:
        if several or not needed:
            how["nargs"] = ("+" if needed else "*") if several else "?"
        parser.add_argument(argument.name, **how)
        return
    if hint is bool:
        how = {"action": "store_true", "help": help}
    elif argument.name in BARE:
        how |= {"nargs": "?", "const": BARE[argument.name]}
    elif several:
        how |= {"nargs": 1 if kind is Path else "+", "action": "extend"}
    else:
        how["required"] = needed
    flags = [f"--{argument.name}", SHORT.get(argument.name)]
    parser.add_argument(*filter(None, flags), **how)


def _without_command(argv: Sequence[str]) -> NoReturn:
    """Show help or the version, or raise a UsageError."""
    first = argv[0] if argv else ""
    group = f"{first} " if any(name.startswith(f"{first} ") for name in COMMANDS) else ""
    rest = argv[1:] if group else argv
    names = [name for name in COMMANDS if name.startswith(group)]
    words = list(dict.fromkeys(name.removeprefix(group).split()[0] for name in names))
    if not rest:
        raise UsageError(f"Name a command: dfcvae {group}COMMAND, one of {', '.join(words)}; --help describes them.")
    if rest[0] == "--version":
        print(f"dfcvae {__version__}")
    elif rest[0] in ("-h", "--help"):
        summaries = [(docstring_parser.parse(COMMANDS[name].__doc__ or "").short_description or "") for name in names]
        print(f"usage: dfcvae {group}COMMAND [ARGUMENTS]\n")
        print("Deep Feature Consistent VAE: train, sample and study VAEs with a feature-perceptual loss.\n")
        print("\n".join(f"  {name:<17}{about.rstrip('.')}" for name, about in zip(names, summaries, strict=True)))
        print("\ndfcvae COMMAND --help describes a command; --debug shows the traceback of an error.")
    else:
        command, hint = group + rest[0], nearest(rest[0], words)
        raise UsageError(f"unknown command {command!r}{hint}; expected one of {', '.join(words)}.")
    raise SystemExit(0)


def _explain(error: BaseException) -> tuple[str, int]:
    """The sentence and the exit status for an error; status 0 for one that is a fault of this program."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted. A training continues from its last checkpoint with --resume.", 130
    if isinstance(error, (PreemptedError, UserError)):
        return str(error), {PreemptedError: TRY_AGAIN, UsageError: 2}.get(type(error), 1)
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        return f"{what}. Check the path, its permissions and the free space.", 1
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        cure = "Lower training.batch_size, raise training.micro_batches, or set loss.features.cache_targets to never."
        return f"the GPU is out of memory. {cure}", 1
    if isinstance(error, MemoryError) or any(phrase in str(error) for phrase in NO_MEMORY):
        return "not enough memory. Ask for fewer or smaller images at once, or for a smaller model.", 1
    return "", 0
