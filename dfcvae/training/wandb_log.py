"""Weights & Biases, where it was chosen: online with an account, offline without, never waiting for the network."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path

from lightning.pytorch.loggers import WandbLogger

from dfcvae.config import Experiment

CONNECT_SECONDS = 20


def wandb_logger(experiment: Experiment, out: Path) -> WandbLogger:
    """A logger into ``out/wandb``. Respects ``WANDB_MODE``; falls back to offline when the server does not answer."""
    import wandb

    wanted = os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
    settings = wandb.Settings(init_timeout=CONNECT_SECONDS, login_timeout=CONNECT_SECONDS)
    for mode in (wanted, "offline"):
        config = experiment.as_dict()
        logger = WandbLogger(experiment.name, out, project="dfcvae", mode=mode, config=config, settings=settings)
        try:
            _ = logger.experiment
            return logger
        except (wandb.errors.Error, OSError) as error:
            print(f"wandb does not answer ({error}); logging offline into {out}/wandb. Upload it later: wandb sync.")
    raise AssertionError("offline logging starts without a server")


def _has_account() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
