"""Models on a stand-in of the Hugging Face Hub: uploaded, downloaded, from the cache, and missing."""

import base64
import hashlib
import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
import torch

from dfcvae import VAE, hub
from dfcvae.cli import main
from dfcvae.errors import UserError
from dfcvae.fitted import save_if_possible
from dfcvae.vae import digest
from tests.explore.conftest import save_model

ROOT = Path(__file__).parents[1]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
LOADED = """
import sys
from dfcvae import VAE
from dfcvae.cli import main
from dfcvae.vae import digest
print("digest", digest(VAE.load("hf:me/faces@main")))
for words in (["sample", "hf:me/faces", "-n", "2"], ["sample", "hf:me/other"], ["sample", "hf:me/faces@v2"]):
    print(main(words))
"""


class Hub(BaseHTTPRequestHandler):
    """One repository, me/faces, in memory."""

    files: ClassVar[dict[str, bytes]] = {}

    def log_message(self, *_):
        pass

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path, api = self.path.partition("?")[0], "/api/models/me/faces"
        if path == "/api/repos/create":
            self.send({"url": "me/faces"})
        elif path == "/api/validate-yaml":  # of the model card
            self.send({"errors": [], "warnings": []})
        elif path == f"{api}/preupload/main":
            self.send(
                {
                    "files": [
                        file | {"uploadMode": "regular", "shouldIgnore": False} for file in json.loads(body)["files"]
                    ]
                }
            )
        elif path == f"{api}/commit/main":
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
                elif line["key"] == "deletedFile":
                    del self.files[line["value"]["path"]]
            self.send({"commitUrl": f"me/faces/commit/{COMMIT}", "commitOid": COMMIT})
        elif path in (f"{api}/revision/main", api):
            siblings = [{"rfilename": name} for name in self.files]
            self.send({"id": "me/faces", "modelId": "me/faces", "sha": COMMIT, "siblings": siblings})
        elif path.startswith(f"{api}/tree/"):
            about = {"type": "file", "oid": COMMIT}
            self.send([about | {"path": name, "size": len(content)} for name, content in self.files.items()])
        elif path.startswith(f"/me/faces/resolve/{COMMIT}/"):
            self.send(self.files[path.removeprefix(f"/me/faces/resolve/{COMMIT}/")])
        else:
            self.send({}, 404, "RevisionNotFound" if path.startswith(api) else "RepoNotFound")

    do_GET = do_HEAD = do_POST = answer  # noqa: N815

    def send(self, content, status=200, error=""):
        content = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        headers = {"Content-Length": len(content), "ETag": tag, "X-Repo-Commit": COMMIT, "X-Error-Code": error}
        for name, value in headers.items():
            self.send_header(name, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


@pytest.mark.slow
def test_a_model_is_uploaded_downloaded_and_loaded_from_the_cache_without_a_connection(tmp_path):
    pytest.importorskip("huggingface_hub")
    model, served = save_model(tmp_path / "model"), ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.files = {"latent/of-another.safetensors": b"", "model.ckpt": b"never asked for"}
    Thread(target=served.serve_forever, daemon=True).start()
    environment = os.environ | {
        "HF_ENDPOINT": f"http://127.0.0.1:{served.server_port}",
        "HF_HOME": str(tmp_path / "cache"),
        "HF_TOKEN": "of-nobody",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }

    def python(code):
        command = [sys.executable, "-c", code]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=600)

    pushed = python(f"from dfcvae.cli import main; main(['export', {str(model)!r}, '--push', 'me/faces'])")
    assert pushed.stdout.strip().endswith("/me/faces"), pushed.stderr
    assert set(Hub.files) == {
        "README.md",
        "samples.jpg",
        "model.ckpt",
        "model.json",
        "model.safetensors",
        "latent/attributes.safetensors",
    }
    assert b'VAE.load("hf:me/faces")' in Hub.files["README.md"]
    for connected in (True, False):
        if not connected:
            served.shutdown()
            served.server_close()
        loaded = python(LOADED)
        lines = [line for line in loaded.stdout.splitlines() if line.startswith(("digest", "0", "1"))]
        assert lines == [f"digest {digest(VAE.load(model))}", "0", "1", "1"], loaded.stderr
        assert ("there is no such repository on the Hub" in loaded.stderr) == connected
        assert ("me/faces has no branch, tag or commit 'v2'" in loaded.stderr) == connected
        assert ("hf:me/other could not be downloaded and is not in the Hub's cache" in loaded.stderr) != connected
        assert "Traceback" not in loaded.stderr
    assert not list((tmp_path / "cache").rglob("*.ckpt"))


def test_what_is_wrong_with_a_name_or_missing_is_a_sentence(tmp_path, monkeypatch, capsys):
    model = save_model(tmp_path / "model")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert main(["export", str(model), "--push", "me/faces", "--out", str(tmp_path / "out")]) == 1
    assert 'The Hugging Face Hub needs huggingface_hub; run pip install -e ".[hub]".' in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    monkeypatch.undo()
    pytest.importorskip("huggingface_hub")
    for name in ("hf:a/b/c", "hf:"):
        with pytest.raises(UserError, match=r"expected hf:user/repo or hf:user/repo@revision"):
            VAE.load(name)
    with pytest.raises(UserError, match=r"--push a/b/c: expected user/repo"):
        hub.push(model, "a/b/c")


def test_nothing_is_saved_in_the_cache_of_the_hub(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("dfcvae.hub.fetched", lambda name: save_model(tmp_path / "cached"))
    assert torch.equal(VAE.load("hf:me/faces").encoder.mu.weight, VAE.load(tmp_path / "cached").encoder.mu.weight)
    assert not save_if_possible("hf:me/faces", lambda: pytest.fail("saved"))
    assert "Not saved: hf:me/faces is in the Hub's cache. Export it" in capsys.readouterr().out
