"""A training that stops at any call into the system goes on, and ends with the same bits.

Sessions share one process and its compiled programs, so there can be many; test_kill.py kills real
ones. After its death a session changes nothing on the disk any more.
"""

import os
import random

import pytest

from experiments import compare, processes
from experiments.positions import numbers
from experiments.saves import Saves
from experiments.stopping import Together, code
from tests.faults.runs import TINY, again, digests, job, updates

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "rmdir")


class Dead(BaseException):
    """The process is no more."""


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return job(tmp_path_factory.mktemp("base") / "run")


@pytest.fixture
def session(base, tmp_path, monkeypatch):
    """session(name, call=0) trains a run to its end, or to its death at the n-th call; whether it
    reached the end. Tests are left out."""
    for name, found in (("test", [None]), ("rows", [])):
        monkeypatch.setattr(compare.Comparison, name, lambda *_, found=found: found)

    def run(name: str, call: int = 0) -> bool:
        made = again(base, tmp_path / name)
        left = call
        with monkeypatch.context() as patch:

            def deadly(function):
                def act(*arguments, **more):
                    nonlocal left
                    left -= bool(call)
                    if call and left <= 0:
                        raise Dead
                    return function(*arguments, **more)

                return act

            for function in CALLS:
                patch.setattr(os, function, deadly(getattr(os, function)))
            try:
                compare.fill(made)
            except Dead:
                return False
        return not call or left > 0

    return run


def survives(session, tmp_path, deaths: int) -> list[str]:
    """What differs from a run that never died, over so many deaths."""
    assert session("quiet")
    draw, found, runs = random.Random(0), [], 0
    died = 0
    while died < deaths:
        name = f"run{runs}"
        ended = session(name, draw.randrange(1, 80))
        died += not ended
        if ended or died == deaths:
            session(name)
            if digests(tmp_path / name) != digests(tmp_path / "quiet"):
                found.append(f"{name}: other bits")
            if updates(tmp_path / name) != updates(tmp_path / "quiet"):
                found.append(f"{name}: updates {updates(tmp_path / name)}")
            kept, other = (tmp_path / x / "training/bursty-seed0" for x in (name, "quiet"))
            if numbers(kept) != numbers(other):
                found.append(f"{name}: checkpoints {numbers(kept)}")
            runs += 1
    return found


def test_twenty_deaths(session, tmp_path):
    assert survives(session, tmp_path, 20) == []
    assert updates(tmp_path / "quiet") == list(range(4, TINY.updates + 1, 4))


@pytest.mark.slow
def test_two_hundred_deaths(session, tmp_path):
    assert survives(session, tmp_path, 200) == []


def test_twin_that_forgets_the_moments_is_found(session, tmp_path, base, monkeypatch):
    whole = Saves.restore

    def forgetful(self, cell, update):
        state, lines = whole(self, cell, update)
        return state.replace(moments=base.initial(cell[1])[1].moments), lines

    monkeypatch.setattr(Saves, "restore", forgetful)
    assert any("other bits" in x for x in survives(session, tmp_path, 6))


def test_twin_that_forgets_the_metrics_is_found(session, tmp_path, monkeypatch):
    whole = Saves.restore
    monkeypatch.setattr(Saves, "restore", lambda *x: (whole(*x)[0], []))
    assert survives(session, tmp_path, 6)


@pytest.mark.parametrize("ask", [1, 2, 5, 6])
def test_another_process_is_asked_to_end(base, session, tmp_path, monkeypatch, ask):
    """Before the first chunk, between two, within the last: what was trained is saved, and the run
    goes on from there."""
    assert session("quiet")
    made, asked = again(base, tmp_path / "asked"), iter(range(1, 7))
    with monkeypatch.context() as patch:
        patch.setattr(processes, "any_says", lambda _, due: (next(asked) == ask, due))
        with pytest.raises(Together) as stop:
            compare.fill(made)
    assert code(stop.value) == 143
    place = tmp_path / "asked" / "training" / "bursty-seed0"
    assert max(numbers(place), default=0) == TINY.report_every * (ask - 1)
    assert session("asked")
    assert digests(tmp_path / "asked", update=20) == digests(tmp_path / "quiet", update=20)
    assert updates(tmp_path / "asked") == updates(tmp_path / "quiet")
