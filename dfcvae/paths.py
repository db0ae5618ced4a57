"""Where things are kept between runs."""

import os
from pathlib import Path


def cache_root(cache_dir: str | Path | None = None) -> Path:
    """The folder of all caches: the given one, ``$DFCVAE_CACHE``, or ``dfcvae`` in the user's cache folder."""
    if cache_dir or os.environ.get("DFCVAE_CACHE"):
        return Path(cache_dir or os.environ["DFCVAE_CACHE"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "dfcvae"
