"""What is wrong with files in the wild: small builders of broken archives, lists, models and configurations."""

import functools
import itertools
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from dfcvae.attribute_network import AttributeNetwork
from dfcvae.latent import AttributeVectors, Prior
from dfcvae.vae import VAE, digest
from tests.conftest import tiny_experiment
from tests.hostile import encoded, reference
from tests.layouts import small_album, write

CANARY = "executed"  # a file that no program should make
ALBUM = small_album()
NAMES = ("Male", "Smiling", "Eyeglasses")


class Malicious:
    """Unpickled, it makes a file: the sign that something was executed."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, str]]:
        return open, (CANARY, "w")


def flipped(path: Path, at: int | float) -> Path:
    """A file with one bit changed: at a byte from the start or the end, or at a fraction of its length."""
    data = bytearray(path.read_bytes())
    data[int(at * len(data)) if isinstance(at, float) else at] ^= 1
    path.write_bytes(data)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    """A file of which only the first part is left."""
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def faces(folder: Path, **others: bytes) -> Path:
    """A folder of 4 good pictures, and others by name."""
    return write(folder, {f"{i}.jpg": ALBUM.jpegs[i] for i in range(4)} | others)


def zipped(path: Path, members: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED, **says: int) -> Path:
    """A zip of 4 good pictures, and others by name, of which its directory says something else (`zipfile.ZipInfo`)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in ({f"good/{i}.jpg": ALBUM.jpegs[i] for i in range(4)} | members).items():
            archive.writestr(zipfile.ZipInfo(name), content, method)
        for name, (field, value) in itertools.product(members, says.items()):
            setattr(archive.getinfo(name), field, value)
    return path


def picture() -> bytes:
    return encoded(reference(), "PNG")


def celeba(folder: Path, **lists: str | bytes) -> Path:
    """CelebA's folder in small; lists by their names without suffix instead of the right ones."""
    texts = {name: content if isinstance(content, bytes) else content.encode() for name, content in lists.items()}
    return write(folder, ALBUM.images() | ALBUM.lists() | {f"{name}.txt": text for name, text in texts.items()})


@functools.cache
def vae() -> VAE:
    """A small model with random weights, always the same."""
    torch.manual_seed(0)
    return VAE("hou2016", 32, 3, 8)


def model(folder: Path, config: dict[str, Any] | None = None) -> Path:
    """An exported model that says it was trained on synthetic faces of 32 pixels."""
    return vae().save(folder, tiny_experiment().as_dict() if config is None else config)


def checkpoint(path: Path, **changes: Any) -> Path:
    """What training leaves, as far as a loaded model needs it."""
    content = {
        "vae": dict(vae().state_dict()),
        "about": {"vae": vae().config, "config": tiny_experiment().as_dict(), "scales": {}},
        "optimizer": {},
        "step": 4,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content | changes, path)
    return path


def edited_json(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    return path


def judge(path: Path) -> Path:
    torch.manual_seed(0)
    return AttributeNetwork("vgg11_bn", 0.125, NAMES).save(path)


def vectors(of: Path) -> Path:
    kept = AttributeVectors(NAMES, torch.ones(len(NAMES), 8), "differences of class means")
    return kept.save(of / "latent" / "attributes.safetensors", digest(vae()), "synthetic")


def prior(of: Path) -> Path:
    return Prior.standard(8).save(of / "latent" / "prior-gaussian.safetensors", digest(vae()), "synthetic")


def stored_by_hand(path: Path, tensors: dict[str, torch.Tensor], about: Any) -> Path:
    """A file of the kind kept beside models, with whatever content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, {"dfcvae": json.dumps(about)})
    return path


def experiment(path: Path, text: str | bytes | None = None, **data: Any) -> Path:
    """A small experiment, or another text in its place."""
    tiny = tiny_experiment()
    for name, value in data.items():
        setattr(tiny.data, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    tiny.save(path)
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def pickled(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path


def tree_of(folder: Path) -> dict[str, bytes]:
    """Every file below a folder: what must be there afterwards as it was."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    return {os.path.relpath(path, folder): path.read_bytes() for path in paths}
