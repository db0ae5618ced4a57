"""Weights & Biases, where it was chosen: online with an account, offline without, never waiting for the network."""

import os
from netrc import NetrcParseError, netrc
from pathlib import Path
from secrets import token_hex

from lightning.pytorch.loggers import WandbLogger

from dfcvae.config import Experiment
from dfcvae.files import write_whole
from dfcvae.training.environment import process_rank

CONNECT_SECONDS = 20


ID = "wandb-id"  # file in the run folder


def wandb_logger(experiment: Experiment, out: Path, resumed: bool) -> WandbLogger:
    """A logger into ``out/wandb``. Respects ``WANDB_MODE``; falls back to offline when the server does not answer.

    The run is called as its folder, and belongs to the group of its experiment, whose seeds stand together.
    A resumed run goes on in its run of Weights & Biases, by the id that the run folder keeps.
    """
    import wandb

    run_id = _run_id(out / ID, resumed)

    wanted = os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
    settings = wandb.Settings(init_timeout=CONNECT_SECONDS, login_timeout=CONNECT_SECONDS)
    for mode in (wanted, "offline"):
        logger = WandbLogger(
            out.name,
            out,
            group=experiment.name,
            id=run_id,
            resume="allow" if mode == "online" else None,  # offline, `wandb sync` puts the parts of a run together
            project="dfcvae",
            mode=mode,
            config=experiment.as_dict(),
            settings=settings,
        )
        try:
            _ = logger.experiment
            return logger
        except (wandb.errors.Error, OSError) as error:
            print(f"wandb does not answer ({error}); logging offline into {out}/wandb. Upload it later: wandb sync.")
    raise AssertionError("offline logging starts without a server")


def _run_id(file: Path, resumed: bool) -> str | None:
    """The id that is kept in a file; a new one for a run that begins, and for one from before ids were kept."""
    if process_rank():
        return None  # another process logs
    if not (resumed and file.is_file()):
        write_whole(file, token_hex(4) + "\n")
    return file.read_text().strip()


def _has_account() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc().authenticators("api.wandb.ai") is not None
    except (OSError, NetrcParseError):
        return False
