"""The commands and the links of the documents."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
import torch

from dfcvae import training
from dfcvae.cli import parse

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
    """But for the whole run, whose arguments alone are checked."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(training, "train", inspect.signature(training.train).bind)
    code = PYTHON.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    names = {}
    for block in code:
        exec(compile(block, "README.md", "exec"), names)
    assert len(code) == 2
    assert all(term.shape == (8,) and torch.isfinite(term).all() for term in names["terms"].values())
    assert list(names["terms"])[-1] == "edges"


def test_commands_are_found():
    assert len(list(commands(ROOT / "README.md"))) >= 20
    assert all(len(list(commands(path))) for path in EXPERIMENTS)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_to_a_file_leads_there(path):
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target
