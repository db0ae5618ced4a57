"""Command line and YAML of the same types, and every mistake as one sentence."""

import re
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from jsonargparse import ActionConfigFile, ActionSubCommands, ArgumentParser

from dfcvae.checks import check_groups
from dfcvae.config import Experiment, FeatureConfig
from dfcvae.errors import UsageError, nearest
from dfcvae.yamlfile import read_yaml

FEATURES = "loss.features"


class Parser(ArgumentParser):
    """jsonargparse's parser, with errors as exceptions that hold one sentence."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise instead of printing the usage and leaving."""
        raise UsageError(_sentence(message, self.options())) from ex

    def options(self) -> list[str]:
        """Names of all options, those of its commands too: ``loss.alpha``, ..."""
        own = [option.removeprefix("--") for action in self._actions for option in action.option_strings]
        commands = [action.choices or {} for action in self._actions if isinstance(action, ActionSubCommands)]
        own += [option for parsers in commands for parser in parsers.values() for option in parser.options()]
        # a group that may be null is one option to jsonargparse
        return [*own, *(f"{FEATURES}.{field.name}" for field in fields(FeatureConfig) if FEATURES in own)]


class ExperimentFile(ActionConfigFile):
    """The argument ``--config``: a file that is looked at first, in ways in which jsonargparse does not."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        """Look at the file, then read it."""
        _check_file(Path(values))
        super().__call__(parser, cfg, values, option_string)


def _check_file(path: Path) -> None:
    """Raise a UsageError unless a file is YAML with fields of an experiment, each once."""
    plain = read_yaml(path, "an experiment")
    try:
        check_groups(plain, Experiment)
    except (ValueError, TypeError) as error:
        raise UsageError(f"{path} is not an experiment ({' '.join(str(error).split())}); correct it.") from error


def add_experiment_arguments(parser: Parser) -> None:
    """An argument for every field of an experiment, and ``--config`` for a file of them."""
    parser.add_argument("--config", action=ExperimentFile, help="an experiment: a YAML file of the fields below")
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


# What jsonargparse and argparse say, from which `_sentence` makes ours.
GROUP = re.compile(r'Parser key "(?P<key>[^"]+)":\s*(?P<what>.*)', re.DOTALL)
UNKNOWN = re.compile(r"(?:[Oo]ption|[Uu]nrecognized arguments:|There is no field) '?(?P<key>-*[\w.]+)")
WRONG = re.compile(r"Expected an? (?P<kind>.+?)\. Got value: (?P<value>[^\n]*)", re.DOTALL)
UNION = re.compile(
    r"(?:- (?P<key>\w+): )?Does not validate against any of the Union subtypes\s+Subtypes: \[(?P<kinds>.*)\]"
)
GIVEN = re.compile(r"Given value: (?P<value>[^\n]*)")
NUMBER = re.compile(r"Not of type (?P<kind>\w+): (?:(?P<value>\S+) does not|.*: '(?P<text>.*)')")
NUMBERS = {"PositiveInt": "a whole number above 0", "NonNegativeInt": "a whole number of at least 0"}
CHOICE = re.compile(r"invalid choice: '?(?P<value>[^' ]*)'? \(choose from (?P<choices>.*)\)")
NESTED = re.compile(r"- (?P<sentence>\w+: expected .* came\.)")
NO_COMMAND = re.compile(r'command" to be one of')


def _sentence(message: str, options: Sequence[str]) -> str:
    group = GROUP.search(message)
    if unknown := UNKNOWN.search(message):
        return _unknown(unknown["key"], group["key"] if group else "", options)
    if group and (nested := NESTED.search(group["what"])):
        return f"{group['key']}.{nested['sentence']}"
    if group and (unions := list(UNION.finditer(group["what"]))):
        return _no_kind(group["key"], unions[-1], group["what"])
    if group and (wrong := WRONG.search(group["what"])):
        return _wrong(group["key"], wrong["kind"], wrong["value"].strip())
    if group and (number := NUMBER.search(group["what"])):
        return f"{group['key']}: expected {NUMBERS[number['kind']]}, but {number['value'] or number['text']} came."
    if choice := CHOICE.search(message):
        valid = _words(choice["choices"])
        return f"There is no {choice['value']!r}{nearest(choice['value'], valid)}; choose one of {', '.join(valid)}."
    if NO_COMMAND.search(message):
        return "Name a command; --help lists them."
    return f"{group['key']}: {group['what']}" if group else " ".join(message.split())


def _unknown(key: str, group: str, options: Sequence[str]) -> str:
    field = ".".join(part for part in (group, key.lstrip("-")) if part)
    if key.startswith("--") and "." not in field:
        near = nearest(key, [option if option[0] == "-" else f"--{option}" for option in options])
        return f"There is no option {key!r}{near}; see --help for those there are."
    return f"There is no field {field!r}{nearest(field, options)}; see --help for all of them."


def _wrong(key: str, kind: str, value: str) -> str:
    if kind.startswith("typing.Literal"):
        valid = _words(kind[kind.index("[") + 1 : kind.rindex("]")])
        return f"{key}: expected one of {', '.join(valid)}{nearest(value, valid)}, but {value!r} came."
    return f"{key}: expected {kind.removeprefix('<class ').rstrip('>')}, but {value!r} came."


def _no_kind(key: str, union: re.Match[str], what: str) -> str:
    """For a field that may be null or of several types; the innermost mistake is the one made."""
    given = GIVEN.search(what, union.end())
    value = given["value"] if given else "?"
    name = f"{key}.{union['key']}" if union["key"] else key
    if "typing.Literal" in union["kinds"]:
        return _wrong(name, union["kinds"].removesuffix(", <class 'NoneType'>"), value)
    kinds = re.sub(r"<class '(\w+)'>", r"\1", union["kinds"]).replace("NoneType", "null").replace(", ", " or ")
    return f"{name}: expected {kinds}, but {value} came."


def _words(choices: str) -> list[str]:
    return [choice.strip(" '") for choice in choices.split(",")]
