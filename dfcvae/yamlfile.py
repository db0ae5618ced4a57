"""YAML files: small, without aliases, each field once."""

from pathlib import Path
from typing import Any

import yaml

from dfcvae.errors import UsageError

LARGEST = 2**20  # bytes of a file
DEEPEST = 20  # levels of its fields


def read_yaml(path: Path, what: str) -> Any:
    """The contents of a YAML file.

    Aliases (``*a``) are refused: nested ones expand exponentially ("billion laughs").

    Raises:
        UsageError: if there is no such file, or it is something else.
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
                raise UsageError(f"{path} holds an alias (*) or more than {DEEPEST} levels; write its fields out.")
        root, plain = yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)
    except (UnicodeDecodeError, yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{path} is not {what} ({' '.join(str(error).split())}); correct it.") from error
    if isinstance(root, yaml.MappingNode):
        _refuse_doubles(path, root)
    return plain


def _refuse_doubles(path: Path, mapping: yaml.MappingNode) -> None:
    names = [key.value for key, _ in mapping.value if isinstance(key, yaml.ScalarNode)]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{path} has the field {name!r} twice in one place; remove one.")
    for _, value in mapping.value:
        if isinstance(value, yaml.MappingNode):
            _refuse_doubles(path, value)
