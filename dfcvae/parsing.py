"""jsonargparse's parser and YAML files; every error is one sentence."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace

from dfcvae.errors import UsageError, UserError, nearest

T = TypeVar("T")


class Parser(ArgumentParser):
    """jsonargparse's parser; errors are raised as UsageError."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

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


def build(kind: type[T], values: Namespace) -> T:
    """A dataclass built from those of its fields that the parser's values contain."""
    return kind(**{entry.name: values[entry.name] for entry in fields(kind) if entry.name in values})  # type: ignore[arg-type]


LARGEST = 2**20  # bytes of a file
DEEPEST = 20  # levels of its fields


def read_yaml(path: Path, what: str) -> Any:
    """The contents of a YAML file.

    Aliases (``*a``) are refused: nested ones expand exponentially ("billion laughs").

    Raises:
        UsageError: if the file is missing or is not valid YAML.
    """
    if not path.exists():
        raise UsageError(f"There is no file {path}; name {what}, a YAML file.")
    if not path.is_file() or path.stat().st_size > LARGEST:
        raise UsageError(f"{path} is not a regular file of at most {LARGEST // 2**20} MB; name {what}, a YAML file.")
    try:
        text, depth = path.read_text(encoding="utf-8-sig"), 0
        for event in yaml.parse(text, yaml.SafeLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise UsageError(f"{path} contains an alias (*) or more than {DEEPEST} levels; write the fields out.")
        root, plain = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not {what} ({' '.join(str(error).split())}); fix it.") from error
    if isinstance(root, yaml.MappingNode):
        _refuse_doubles(path, root)
    return plain


def _refuse_doubles(path: Path, mapping: yaml.MappingNode) -> None:
    names = [key.value for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} has the field {name!r} twice in one mapping; remove one.")
    for _, value in mapping.value:
        if isinstance(value, yaml.MappingNode):
            _refuse_doubles(path, value)
