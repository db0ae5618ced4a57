"""Atomic file writes."""

import errno
import json
import os

import pytest
import torch

from dfcvae.files import atomic_file, is_lfs_pointer, remove_leftovers, write_atomically
from dfcvae.vae import VAE


def test_a_file_is_replaced_only_once_it_is_complete(tmp_path):
    file = tmp_path / "a" / "x.txt"
    write_atomically(file, "old")

    def stopped():
        with atomic_file(file) as temporary:
            temporary.write_text("half")
            assert file.read_text() == "old"
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        stopped()
    assert [path.name for path in file.parent.iterdir()] == ["x.txt"]
    assert file.read_text() == "old"
    write_atomically(file, "new")
    assert file.read_text() == "new"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_files_have_the_permissions_that_the_user_gives_new_files(umask, mode, tmp_path):
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "x.txt", "text")
        folder = VAE("hou2016", 32, 3, 4).save(tmp_path / "model")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in (tmp_path / "x.txt", *folder.iterdir())} == {mode}


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
    (tmp_path / ".x.txt.123.tmp").write_text("half")
    (tmp_path / "mine.tmp").write_text("complete")
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "nowhere")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.tmp"]


def test_a_git_lfs_pointer_is_known_by_its_content(tmp_path):
    (tmp_path / "pointer").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n")
    (tmp_path / "text").write_text("version 2\n")
    assert [is_lfs_pointer(tmp_path / name) for name in ("pointer", "text", "nowhere")] == [True, False, False]


@pytest.mark.parametrize("file", [1, 2])
def test_a_model_that_cannot_be_saved_leaves_the_one_before(file, tmp_path, monkeypatch):
    """The weights reach the disk, but their description does not, or neither."""
    old, new = VAE("hou2016", 32, 3, 4), VAE("hou2016", 32, 3, 4)
    old.save(tmp_path / "x")
    sync, synced = os.fsync, []

    def fsync(number):
        synced.append(number)
        if len(synced) == file:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(number)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="No space left"):
        new.save(tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["model.json", "model.safetensors"]
    assert torch.equal(VAE.load(tmp_path / "x").encoder.mu.weight, old.encoder.mu.weight)
    assert json.loads((tmp_path / "x/model.json").read_text())["vae"] == old.config
