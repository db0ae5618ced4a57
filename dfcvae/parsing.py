"""jsonargparse's parser, with every mistake as one sentence."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NoReturn, TypeVar

from jsonargparse import ArgumentParser, Namespace

from dfcvae.errors import UsageError, UserError, nearest

T = TypeVar("T")


class Parser(ArgumentParser):
    """jsonargparse's parser, which raises what it has to say as a UsageError."""

    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, **kwargs)

    def values(self, words: Sequence[str] | dict[str, Any]) -> Namespace:
        """Typed values of the words of a command line, or of plain values by name.

        Raises:
            UserError: for an unknown name, or a value of a wrong type or outside its limits.
        """
        try:
            parsed = self.parse_object(words) if isinstance(words, dict) else self.parse_args(list(words))
            return self.instantiate(parsed)
        except ValueError as error:  # of a field that may be null
            self.error(str(error), error)

    def error(self, message: str, ex: BaseException | None = None) -> NoReturn:
        """Raise jsonargparse's message on one line, with the nearest name for an unknown one.

        Where a value may be of several types, the message holds an error for each of them; the first one is told.
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
    """A dataclass of the fields that are among a parser's values."""
    return kind(**{entry.name: values[entry.name] for entry in fields(kind) if entry.name in values})  # type: ignore[arg-type]
