"""Models on the Hugging Face Hub, named ``hf:user/repo`` or ``hf:user/repo@revision``: safetensors and JSON alone."""

from functools import cache
from pathlib import Path
from typing import Any

from dfcvae.errors import UserError
from dfcvae.files import HUB

FILES = ["model.safetensors", "model.json", "latent/*.safetensors"]


@cache
def fetched(name: str) -> Path:
    """The folder of a model in the Hub's own cache, downloaded where it is missing or the repository has changed.

    Without a connection, or with ``HF_HUB_OFFLINE=1``, the cached one is used.

    Raises:
        UserError: if huggingface_hub or the repository is missing, or it cannot be downloaded and is not cached.
    """
    hub, (repository, _, revision) = library(), name.removeprefix(HUB).partition("@")
    try:
        return Path(hub.snapshot_download(repository, revision=revision or None, allow_patterns=FILES))
    except hub.errors.RepositoryNotFoundError as error:
        raise UserError(
            f"{name}: there is no such repository on the Hub, or it is private or gated; check the name, or run "
            "`hf auth login`."
        ) from error
    except hub.errors.RevisionNotFoundError as error:
        raise UserError(f"{name}: {repository} has no branch, tag or commit {revision!r}.") from error
    except hub.errors.HFValidationError as error:
        raise UserError(f"{name}: expected hf:user/repo or hf:user/repo@revision.") from error
    except Exception as error:  # any of its HTTP client's
        raise UserError(
            f"{name} could not be downloaded and is not in the Hub's cache ({_line(error)}); check the connection."
        ) from error


def push(folder: str | Path, repository: str) -> str:
    """Upload an exported folder to a repository, which is created if it is missing; its address.

    Raises:
        UserError: if huggingface_hub is missing, or the Hub refuses.
    """
    hub = library()
    api = hub.HfApi()
    try:
        api.create_repo(repository, exist_ok=True)
        api.upload_folder(
            repo_id=repository,
            folder_path=folder,
            allow_patterns=[*FILES, "README.md", "samples.jpg"],
            delete_patterns=["latent/*"],  # of another model
            commit_message="Upload a model of dfcvae",
        )
    except hub.errors.HFValidationError as error:
        raise UserError(f"--push {repository}: expected user/repo.") from error
    except Exception as error:  # the Hub's, or any of its HTTP client's
        raise UserError(
            f"--push {repository}: the Hub refused, or could not be reached ({_line(error)}); run `hf auth login` and "
            "check the name."
        ) from error
    return f"{api.endpoint}/{repository}"


def library() -> Any:
    """huggingface_hub; a UserError if it is not installed."""
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError('The Hugging Face Hub needs huggingface_hub; run pip install -e ".[hub]".') from error
    return huggingface_hub


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
