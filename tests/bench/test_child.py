"""Processes of their own: what they answer, and how they fail."""

import pytest
import torch

from dfcvae.bench.child import Child, RowError, sentence
from dfcvae.bench.result import RowResult
from dfcvae.bench.rounds import measure
from dfcvae.bench.rows import Row
from dfcvae.bench.settings import BenchSettings
from dfcvae.cli import main
from dfcvae.errors import UserError
from tests.bench.answers import Answers

pytestmark = pytest.mark.slow  # they start processes and run whole networks


@pytest.mark.slow
def test_a_failing_row_is_a_sentence_and_the_others_go_on(settings):
    rows = [Row(fault or "good", Answers, (fault,), parts=True) for fault in ("building", "")]
    (failed, good), peaks = measure(rows, settings, progress=False)
    assert failed.error == "ValueError: no compiler here."
    assert good == RowResult("good", [0.5], [{"data": 1.0}], 2**20, 2e9)
    assert peaks["float32"] > 1e8


def test_a_process_that_is_killed_is_a_sentence():
    child = Child(Answers, "a killed process")
    assert child.ask("memory") == 2**20
    for _ in range(2):
        with pytest.raises(RowError, match=r"Its process ended \(exit code 9\); the machine may be out of memory\."):
            child.ask("seconds", 1, 0)
    child.close()


def test_errors_are_sentences():
    assert sentence(UserError("Choose another.")) == "Choose another."
    assert sentence(torch.OutOfMemoryError("CUDA out of memory. Tried 3 GiB")) == "Out of memory; take a smaller batch."
    assert sentence(MemoryError()) == "Out of memory; take a smaller batch."
    assert sentence(RuntimeError()) == "RuntimeError: no message."


MISTAKES = [
    (["--size", "48"], 1, "A VAE's size is one of 32, 64, 128, 256; 48 came."),
    (["--batch_size", "1"], 1, "A batch needs at least 2 images for batch norm; 1 came."),
    (["--layers", "[99]"], 1, "vgg19_bn has no layer 99. Its layers are: 0 conv1_1"),
    (["--rounds", "0"], 2, "rounds: expected a positive integer, got 0."),
    (["--accelerator", "gpu"], 2, "['auto', 'cpu', 'cuda']. Got value: gpu"),
]


@pytest.mark.parametrize(("argv", "status", "expected"), MISTAKES)
def test_mistakes_are_told(argv, status, expected, capsys):
    assert main(["bench", *argv]) == status
    assert expected in capsys.readouterr().err


def test_layers_by_name_are_those_by_index():
    assert BenchSettings(layers=["bn3_4", 14], accelerator="cpu").indices == [14, 24]
