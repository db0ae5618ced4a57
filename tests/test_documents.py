"""The commands and the links of the documents."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dfcvae import registry
from dfcvae.cli import parse
from dfcvae.run import Run

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/**/*.md")])
EXPERIMENTS = sorted(ROOT.glob("experiments/*.yaml"))
FENCED = re.compile(r"^```bash\n(.*?)^```", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:#? {3,})?(dfcvae (?:.*\\\n)*.*)$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)")  # to files, not to sites


def commands(path):
    """Command lines of a file as words, but for those with variables; a run's settings stand for any experiment."""
    text = path.read_text(encoding="utf-8")
    indented = "\n".join(line for line in text.splitlines() if line.lstrip("#").startswith("   "))
    for line in COMMAND.findall("".join([*FENCED.findall(text), indented])):
        if "$" not in line:
            words = shlex.split(line.replace("\\\n", " "), comments=True)[1:]
            words = words[: words.index(">")] if ">" in words else words
            yield ["experiments/vae.yaml" if re.fullmatch("runs/.*yaml", word) else word for word in words]


@pytest.mark.parametrize("path", [*DOCUMENTS, *EXPERIMENTS], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_that_a_document_shows_is_understood(path, monkeypatch):
    monkeypatch.chdir(ROOT)
    for words in commands(path):
        parse(words)


def test_the_python_code_of_the_readme_runs(monkeypatch, tmp_path):
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    monkeypatch.chdir(tmp_path)
    code = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    names = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert len(code) == 2
    assert all(term.shape == (8,) and torch.isfinite(term).all() for term in names["terms"].values())
    assert list(names["terms"])[-1] == "features/relu3_1"


def test_the_python_page_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_registered", {})
    code = PYTHON.findall((ROOT / "docs/python.md").read_text(encoding="utf-8"))
    names = {"__name__": "page"}
    for block in code:
        if not block.startswith("# loop.py"):
            exec(compile(block, "docs/python.md", "exec"), names)
    assert [row["epoch"] for row in Run("runs/notebook").history if "val/total" in row] == [0, 1]
    assert len(code) == 6


@pytest.mark.slow
def test_the_distributed_loop_of_the_python_page_runs(tmp_path):
    code = PYTHON.findall((ROOT / "docs/python.md").read_text(encoding="utf-8"))[-1]
    (tmp_path / "loop.py").write_text(code)
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "loop.py"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(start, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stderr
    sums = dict(re.findall(r"rank (\d): (\d+\.\d{9})", ended.stdout))  # the two may end up on one line
    assert sums.keys() == {"0", "1"}
    assert len(set(sums.values())) == 1


def test_commands_are_found():
    assert len(list(commands(ROOT / "README.md"))) >= 18
    assert all(len(list(commands(path))) for path in EXPERIMENTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_there(path):
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
