"""How far a study is: what runs have logged, and the time that is left."""

import pytest

from dfcvae.studies import progress
from dfcvae.studies.pools import Done
from dfcvae.studies.progress import LAST_ROWS, StudyProgress, followed, steps_done


def log(out, name, text):
    folder = out / "runs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "metrics.csv").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("", 0),
        ("step,epoch,train/total\n", 0),
        ("step,epoch,train/total\n9,0,1.5\n", 10),
        ("step,epoch,train/total\n9,0,1.5\n19,0,1.4\n", 20),
        ("step,epoch,train/total\n9,0,1.5\n19,0,1.", 10),  # being written
        ("step,epoch,train/total\n" + "9,0,1.5\n" * LAST_ROWS + "129,3,1.2\n", 130),
    ],
)
def test_steps_are_those_of_the_last_whole_row(tmp_path, text, steps):
    assert steps_done(log(tmp_path, "a", text)) == steps


def test_a_run_that_has_not_begun_has_no_steps(tmp_path):
    assert steps_done(tmp_path / "nothing") == 0


@pytest.fixture
def clock(monkeypatch):
    """Seconds that the test sets."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_the_time_left_is_that_of_the_steps_since_the_start(tmp_path, clock):
    log(tmp_path, "b", "step,epoch\n19,0\n")  # by an earlier start
    study = StudyProgress(tmp_path, runs=4, left=["b", "c"], steps=100)  # two are finished
    assert study.done() == 220
    assert study.said() == "begun"
    clock[0] = 60.0
    log(tmp_path, "b", "step,epoch\n19,0\n49,0\n")
    log(tmp_path, "c", "step,epoch\n9,0\n")
    # 40 steps a minute, and 140 are left
    assert study.said() == "4 min to go (b 50 %, c 10 %)"
    study.ended("b")  # failed: 50 of its steps are never made
    assert study.said() == "2 min to go (c 10 %)"
    assert study.done() == 310


def test_steps_that_a_resumed_run_makes_again_are_counted_again(tmp_path, clock):
    log(tmp_path, "a", "step,epoch\n79,0\n")
    log(tmp_path, "waits", "step,epoch\n9,0\n")
    study = StudyProgress(tmp_path, runs=2, left=["a", "waits"], steps=100)
    log(tmp_path, "a", "step,epoch\n49,0\n")  # its last checkpoint
    assert study.said() == "begun"
    clock[0] = 60.0
    log(tmp_path, "a", "step,epoch\n49,0\n59,0\n")
    assert study.said() == "13 min to go (a 60 %)"  # 10 steps a minute, and 40 + 90 are left


def test_every_end_is_a_line_and_failures_are_kept(tmp_path, clock, capsys):
    study = StudyProgress(tmp_path, runs=3, left=["b", "c"], steps=10)

    def ended():
        yield None
        clock[0] = 120.0
        log(tmp_path, "c", "step,epoch\n9,0\n")
        yield Done("c", 120.0)
        yield None
        yield Done("b", 90.0, "no room")

    assert followed(ended(), study, shown=True) == {"b": "no room"}
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["[2 of 3] c: 2.0 min; 2 min to go", "[3 of 3] b: FAILED: no room; 0 min to go"]


def test_it_is_silent_when_told_so(tmp_path, capsys):
    assert followed(iter([Done("a", 1.0)]), StudyProgress(tmp_path, 1, ["a"], 10), shown=False) == {}
    assert capsys.readouterr() == ("", "")
