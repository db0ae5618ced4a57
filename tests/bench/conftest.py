import pytest

from dfcvae.bench.faces import write_jpegs
from dfcvae.bench.settings import BenchSettings


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """Four JPEG files."""
    folder = tmp_path_factory.mktemp("jpegs")
    write_jpegs(folder, 4)
    return folder


@pytest.fixture(scope="session")
def settings():
    return BenchSettings(size=32, batch_size=2, rounds=1, steps=1, accelerator="cpu")
