"""Where things are kept between runs, and the models that ship with the package."""

import os
from pathlib import Path

PRETRAINED = Path(__file__).parent / "pretrained"


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder of all caches: the given one, ``$DFCVAE_CACHE``, or ``dfcvae`` in the user's cache folder."""
    if cache_dir or os.environ.get("DFCVAE_CACHE"):
        return Path(cache_dir or os.environ["DFCVAE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfcvae"


def pretrained_models() -> list[str]:
    """The names of the models that ship with the package; commands and `VAE.load` take them in place of a path."""
    return sorted(file.parent.name for file in PRETRAINED.glob("*/model.safetensors"))


def pretrained_folder(name: str | Path) -> Path | None:
    """The folder of the shipped model of a name; None if there is none, or a path of that name exists."""
    return PRETRAINED / name if str(name) in pretrained_models() and not Path(name).exists() else None
