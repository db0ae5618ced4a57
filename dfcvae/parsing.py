"""Command line and YAML of the same types, and every mistake as one sentence."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, NoReturn, get_args, get_type_hints

from jsonargparse import ActionConfigFile, ArgumentParser

from dfcvae.config import Experiment
from dfcvae.errors import UserError, nearest


class UsageError(UserError):
    """A command line or configuration that says something impossible."""


class Parser(ArgumentParser):
    """jsonargparse's parser, with errors as exceptions that hold one sentence."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(_sentence(message)) from ex


def add_experiment_arguments(parser: Parser) -> None:
    """An argument for every field of an experiment, and ``--config`` for a file of them."""
    parser.add_argument("--config", action=ActionConfigFile, help="an experiment: a YAML file of the fields below")
    parser.add_class_arguments(Experiment)


def to_experiment(parsed: Any) -> Experiment:
    """The experiment in what `add_experiment_arguments` parsed."""
    return Experiment(parsed.name, parsed.data, parsed.model, parsed.loss, parsed.training)


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """An experiment from a YAML file, with overrides as on the command line (``["--loss.alpha=0.01"]``).

    Raises:
        UserError: for an unknown field, a wrong type or value, or a missing file.
    """
    parser = Parser()
    add_experiment_arguments(parser)
    return to_experiment(parser.instantiate(parser.parse_args(["--config", str(path), *overrides])))


def field_names(config: type = Experiment, prefix: str = "") -> Iterator[str]:
    """Dotted names of all fields: ``loss.features.layers``, ..."""
    for name, kind in get_type_hints(config).items():
        yield prefix + name
        for inner in (kind, *get_args(kind)):
            if isinstance(inner, type) and is_dataclass(inner):
                yield from field_names(inner, f"{prefix}{name}.")


# What jsonargparse says, and what we make of it.
UNKNOWN = (
    re.compile(r"does not accept option '(?P<key>[^']+)'"),
    re.compile(r"[Uu]nrecognized arguments: (?P<key>\S+)"),
    re.compile(r"Parser key \"(?P<group>[^\"]+)\".*Option '(?P<key>[^']+)' is not accepted", re.DOTALL),
    re.compile(r"Option '(?P<key>[^']+)' is not accepted"),
    re.compile(r"No action for key \"(?P<key>[^\"]+)\""),
    re.compile(r"Key '(?P<key>[^']+)' is not expected"),
)
WRONG = re.compile(r"Parser key \"(?P<key>[^\"]+)\":\s*(?P<what>.*)", re.DOTALL)
EXPECTED = re.compile(r"Expected an? (?P<type>.+?)\. Got value: (?P<value>.*)", re.DOTALL)
CHOICES = re.compile(r"typing\.Literal\[(?P<choices>.*)\]")


def _sentence(message: str) -> str:
    for pattern in UNKNOWN:
        if match := pattern.search(message):
            parts = match.groupdict()
            key = ".".join(part for part in (parts.get("group"), parts["key"].lstrip("-").split("=")[0]) if part)
            if key.partition(".")[0] in get_type_hints(Experiment) or "." in key or nearest(key, field_names()):
                return f"There is no field {key!r}{nearest(key, field_names())}; see --help for all of them."
            return f"There is no option {parts['key']!r}; see --help."
    if match := WRONG.search(message):
        what = match["what"]
        if expected := EXPECTED.search(what):
            kind, value = expected["type"], expected["value"].split("\n")[0].strip()
            if choices := CHOICES.search(kind):
                valid = [choice.strip(" '") for choice in choices["choices"].split(",")]
                kind = f"one of {', '.join(valid)}{nearest(value, valid)}"
            return f"{match['key']}: expected {kind.replace('<class ', '').replace('>', '')}, but {value!r} came."
        return f"{match['key']}: {' '.join(what.split())}"
    return " ".join(message.split())
