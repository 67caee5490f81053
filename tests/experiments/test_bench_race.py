"""Sides take turns, rivals live in processes of their own, and a broken one stops nobody."""

import itertools
import sys
import time
from pathlib import Path

import pytest

from experiments.bench import job
from experiments.bench.clock import Race, Side, race
from experiments.bench.peer import Peer, PeerError
from experiments.bench.sizes import SIZES
from experiments.bench.targets import judge
from experiments.phases import Phases

SERVE = Path(__file__).parents[2] / "experiments" / "bench" / "peers"
RIVAL = f"""
import sys, time
sys.path.insert(0, {str(SERVE)!r})
from serve import clock, serve
print("chatter on standard output")
def crash():
    sys.exit("out of memory")
def refuse(size):
    raise ValueError(f"size {{size}} is too large\\nand more")
serve({{
    "run": lambda times: clock(lambda: print("more chatter"), times),
    "add": lambda a, b: a + b,
    "refuse": refuse,
    "crash": crash,
    "sleep": lambda: time.sleep(30),
}})
"""


@pytest.fixture
def rival():
    with Peer("the rival", [sys.executable, "-c", RIVAL], patience=20) as peer:
        yield peer


def sides(*runs) -> Race:
    made = [
        Side("levelburst" if i == 0 else f"rival {i}", "", 10.0 * (i + 1), run)
        for i, run in enumerate(runs)
    ]
    return Race("work", "N = 1", 1, "steps", tuple(made))


def test_sides_take_turns_and_the_first_turn_does_not_count():
    order, first, second = [], itertools.count(1), itertools.count(1)

    def side(name, count, scale):
        def run():
            order.append(name)
            return scale * next(count)

        return run

    ours, theirs = race("part", sides(side("a", first, 1.0), side("b", second, 4.0)), 3)
    assert "".join(order) == "ba" + "ab" + "ba" + "ab"
    assert ours.seconds == (2.0, 3.0, 4.0) and theirs.seconds == (8.0, 12.0, 16.0)
    assert (ours.median, ours.low, ours.high, ours.rate) == (3.0, 2.0, 4.0, 10 / 3)
    # The rival does twice as much in a go of four times the length.
    assert (ours.ratio, theirs.ratio) == (None, 2.0)
    assert theirs.ratio_low == theirs.ratio_high == 2.0


def test_a_side_that_breaks_down_leaves_the_others():
    left = iter([1.0, 1.0])

    def breaks():
        if (found := next(left, None)) is None:
            raise PeerError("it ended with code 1: out of memory")
        return found

    ours, broken, other = race("part", sides(lambda: 1.0, breaks, lambda: 3.0), 4)
    assert broken.seconds == () and broken.median is None and broken.ratio is None
    assert broken.reason == "it ended with code 1: out of memory"
    assert ours.seconds == (1.0,) * 4 and other.seconds == (3.0,) * 4


def test_a_race_that_takes_too_long_ends_sooner_for_all(monkeypatch):
    monkeypatch.setattr("experiments.bench.clock.BUDGET", 0.0)
    cells = race("part", sides(lambda: 1.0, lambda: 2.0), 7)
    assert [len(cell.seconds) for cell in cells] == [2, 2]


def test_a_rival_answers_whatever_it_prints(rival):
    assert rival.ask("add", a=2, b=3) == 5
    assert 0 <= rival.run() < 1
    assert rival.ask("add", a="x", b="y") == "xy"


def test_an_error_of_a_rival_is_one_line_and_it_lives_on(rival):
    with pytest.raises(PeerError) as caught:
        rival.ask("refuse", size=9)
    assert str(caught.value) == "the rival: ValueError: size 9 is too large and more"
    with pytest.raises(PeerError, match="the rival: KeyError: 'dance'"):
        rival.ask("dance")
    assert rival.ask("add", a=1, b=1) == 2


def test_a_rival_that_ends_says_what_it_said_last(rival):
    with pytest.raises(PeerError, match=r"^the rival ended with code 1: out of memory$"):
        rival.ask("crash")
    with pytest.raises(PeerError, match=r"^the rival ended with code 1: out of memory$"):
        rival.ask("add", a=1, b=1)


def test_a_rival_that_hangs_is_ended(rival):
    rival.patience = 0.5
    with pytest.raises(PeerError, match=r"the rival did not answer sleep in 0 s"):
        rival.ask("sleep")
    rival.process.wait(10)


def test_a_rival_that_speaks_no_json_is_told():
    with (
        Peer(
            "babbler", [sys.executable, "-c", "input(); print('hello', flush=True); input()"]
        ) as p,
        pytest.raises(PeerError, match=r"babbler answered b'hello.*', which is no JSON"),
    ):
        p.ask("run", times=1)


def test_a_rival_that_is_not_there_is_told():
    with pytest.raises(PeerError, match="ghost does not start"):
        Peer("ghost", ["/nowhere/python"])


@pytest.mark.parametrize(("theirs", "reached"), [(10.0, True), (9.9, False)])
def test_a_target_is_reached_or_missed(theirs, reached):
    made = Race(
        "key-door, 7×7×2 view",
        "N = 1,024",
        1024,
        "steps",
        (Side("levelburst", "", 1, lambda: 1.0), Side("XLand-MiniGrid", "", 1, lambda: theirs)),
    )
    first, second = judge(race("simulate", made, 2), SIZES["full"])
    assert (first.measured, first.reached) == (theirs, reached)
    assert (second.measured, second.reached) == (None, None)


def test_phases_count_compilation_apart(monkeypatch):
    now = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(now)))
    phases = Phases()  # 0
    phases.enter("import")  # 1
    phases.enter("train")  # 2
    for _ in range(7):
        next(now)
    phases._hear("/jax/core/compile/backend_compile_duration", 2.0)  # 8 … 10
    phases._hear("/jax/core/compile/jaxpr_trace_duration", 5.0)  # 6 … 11, the other within it
    phases._hear("/jax/other", 100.0)
    phases.enter("evaluate")  # 12
    phases.enter("train")  # 13
    found = phases.report()  # 14
    began = found.pop("began")
    assert began > 0
    assert found == {"import": 1.0, "compile": 5.0, "train": 10.0 - 5.0 + 1.0, "evaluate": 1.0}


def test_a_run_says_where_its_time_went(smoke):
    import json

    machine = json.loads((smoke / "results.json").read_text(encoding="utf-8"))["environment"]
    phases = machine["phases"]
    assert set(phases) == {"began", "import", "compile", "generate", "train", "evaluate", "save"}
    assert all(seconds > 0 for seconds in phases.values())


def test_the_first_update_is_heard_and_the_job_ended(smoke, smoke_arguments, shared, tmp_path):
    """The words of the shared run, whose programs are in its cache."""
    taken = job.first_update(smoke_arguments[1:], shared / "cache", tmp_path / "run")
    assert 0 < taken < 300
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_job_that_fails_is_told(tmp_path):
    with pytest.raises(job.JobError, match=r"it ended with code 2: levelburst: unknown preset"):
        job.first_update(("--preset", "smokee"), tmp_path, tmp_path / "run")
    with pytest.raises(job.JobError, match=r"it ended with code 2: levelburst: unknown preset"):
        job.phases(("--preset", "smokee"), tmp_path, tmp_path / "run")
    with pytest.raises(job.JobError, match=r"it ended with code 0"):
        job.seconds_of(job.command("--help"), 2)
    assert list(tmp_path.iterdir()) == []
