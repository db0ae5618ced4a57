"""Networks by name: those of the package, and your own. Free of torch, as the configuration is.

Your own has the name that you registered it with, or is named as ``package.module:function``. Code is imported only
where you name it: in an experiment, in Python, or in the environment variable ``DFCVAE_IMPORT`` (modules, separated by
commas), for the command line. A name in a model file never imports anything.
"""

import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from dfcvae.errors import UsageError, UserError, nearest

Network = Callable[[int, int, int], tuple[Any, Any]]
"""``(size, channels, latent_dim)`` to an encoder, (N, C, H, W) to (mu, logvar), and a decoder, (N, D) to images."""

BUILT_IN = ("hou2016", "smooth", "strided")  # defined in networks.py, which needs torch
TRUSTED = "DFCVAE_IMPORT"
PATH = re.compile(r"[^\W\d][\w.]*:[^\W\d]\w*")

_registered: dict[str, Network] = {}


def register_network(name: str, function: Network) -> None:
    """Give a network of your own a name, for ``VAE(name)`` and ``model.network``; runs are saved with that name.

    Args:
        name: a new one; one that you registered before is replaced.
        function: ``function(size, channels, latent_dim)`` returns an encoder, a module from images (N, C, H, W) in
            [0, 1] to ``mu, logvar``, (N, D) each, and a decoder, a module from latents (N, D) to images in [0, 1].

    Raises:
        UserError: for the name of a network of the package, or something that cannot be called.
    """
    if name in BUILT_IN or not name:
        raise UserError(f"register_network: expected a name other than {', '.join(BUILT_IN)}, got {name!r}.")
    if not callable(function):
        raise UserError(f"register_network: expected a function for {name!r}, got {type(function).__name__}.")
    _registered[name] = function


def check_network(name: str, what: str) -> None:
    """Raise a UsageError unless a name is known, or says where its function is; nothing is imported from there.

    Args:
        name: of a network.
        what: names it in the message: ``"model.network"``.
    """
    _import_trusted()
    known = (*BUILT_IN, *_registered)
    if name not in known and not PATH.fullmatch(name):
        raise UsageError(
            f"{what}: expected one of {', '.join(known)}{nearest(name, known)}, got {name!r}. Your own network needs "
            "dfcvae.register_network first, or a name like package.module:function."
        )


def find_network(name: str) -> Network:
    """The function of a network that is not the package's, imported if its name says where.

    Raises:
        UserError: if it cannot be imported.
    """
    if name not in _registered:
        module, _, function = name.partition(":")
        found = getattr(_imported(module, f"The network {name}"), function, None)
        if not callable(found):
            raise UserError(f"The network {name}: the module {module} has no function {function}; correct its name.")
        _registered[name] = found
    return _registered[name]


def check_at_hand(name: str) -> None:
    """Raise a UserError for a network that a model file names and that only an import could bring.

    A function of a module that is already imported may be used if it is a plain function of that package, and not
    Python's own: a file must not choose among all callables.
    """
    _import_trusted()
    if name in (*BUILT_IN, *_registered):
        return
    module, _, function = name.partition(":")
    found = getattr(sys.modules.get(module), function, None) if function else None
    ours = inspect.isfunction(found) and found.__module__.partition(".")[0] == module.partition(".")[0]
    if not ours or module.partition(".")[0] in sys.stdlib_module_names:
        where = f"import {module}" if PATH.fullmatch(name) else f"run the code that registers {name!r}"
        raise UserError(
            f"The model's network {name!r} is not part of this package. If you trust its code, {where} first; for a "
            f"command, name its module in the environment: {TRUSTED}={module if function else 'MODULE'} dfcvae ..."
        )


def _import_trusted() -> None:
    for module in filter(None, os.environ.get(TRUSTED, "").split(",")):
        _imported(module.strip(), TRUSTED)


def _imported(module: str, what: str) -> ModuleType:
    try:
        return import_module(module)
    except Exception as error:  # whatever the user's module raises
        raise UserError(
            f"{what}: the module {module} cannot be imported ({type(error).__name__}: {error}). Install its package, "
            "or add its folder to PYTHONPATH (PYTHONPATH=. for this folder)."
        ) from error
