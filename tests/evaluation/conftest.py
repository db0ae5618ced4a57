import socket

import pytest
import torch


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """Empty caches, and no network; the folder where torch keeps downloaded weights."""

    def refuse(*_, **__):
        raise socket.gaierror("no network")

    monkeypatch.setenv("DFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return tmp_path / "hub" / "checkpoints"
