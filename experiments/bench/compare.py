"""Part ``compare``: the main job by phase, and how long one waits for its start."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.bench import job
from experiments.bench.clock import OURS, Cell, Race, Side, cell, first_line
from experiments.bench.peer import Peers
from experiments.bench.sizes import Sizes

JOB = "main job"
FIRST = "first update after the command"
HELP = "compare --help"
WRONG = "a wrong argument"
IMPORT = "import experiments.compare"
COLD, WARM = "cold compilation cache", "warm compilation cache"


def cells(sizes: Sizes, peers: Peers) -> Iterator[Cell]:
    """Every wait, then the phases."""
    load = f"import sys; sys.path.insert(0, {str(job.ROOT)!r}); import experiments.compare"
    for work, line, code in (
        (HELP, job.command("compare", "--help"), 0),
        (WRONG, job.command("compare", "--arms", "burstee"), 2),
        (IMPORT, [sys.executable, "-c", load], 0),
    ):
        yield _waited(
            work, "", sizes.repeats, lambda line=line, code=code: job.seconds_of(line, code)
        )
    with tempfile.TemporaryDirectory(prefix="levelburst-bench-") as spare:
        base = Path(spare)
        settings = (COLD, WARM) if sizes.again else (COLD,)
        for number in range(sizes.starts):
            caches = base / f"cache{number}"
            for setting in settings:
                out = base / f"first{number}-{setting[:4]}"
                yield _waited(
                    FIRST, setting, 1, lambda c=caches, o=out: job.first_update(sizes.first, c, o)
                )
        words = " ".join(sizes.job)
        for setting in settings if words else ():
            out = base / f"job-{setting[:4]}"
            try:
                found = job.phases(sizes.job, base / "cache-job", out)
            except (job.JobError, OSError, subprocess.SubprocessError) as error:
                yield _cell(JOB, setting, "", [], first_line(error))
                continue
            for phase, seconds in found.items():
                yield _cell(f"{JOB}: {phase}", setting, f"levelburst compare {words}", [seconds])
            whole = sum(found.values())
            yield _cell(f"{JOB}: all", setting, f"levelburst compare {words}", [whole])


def _waited(work: str, setting: str, times: int, wait: Callable[[], float]) -> Cell:
    try:
        return _cell(work, setting, "", [wait() for _ in range(times)])
    except (job.JobError, OSError, subprocess.SubprocessError) as error:
        return _cell(work, setting, "", [], first_line(error))


def _cell(work: str, setting: str, what: str, seconds: list[float], reason: str = "") -> Cell:
    side = Side(OURS, what, 0, None)
    given = Race(work, setting, 0, "s", (side,))
    return cell("compare", given, side, seconds, [], reason)
