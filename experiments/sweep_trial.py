"""One trial: a comparison in a process of its own, which tells the sweep how it goes."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.presets import refuse_on_cpu
from experiments.sweep_spec import SweepSpec, flags

Tell = Callable[[dict[str, Any]], object]


@dataclasses.dataclass(frozen=True)
class Job:
    """What the processes of a sweep share.

    Attributes:
        spec: the sweep.
        trials: absolute path of the folder of the trials' folders, the same on all machines.
        beside: folders on the Python path of the person who started it, for families of their own.
    """

    spec: SweepSpec
    trials: Path
    beside: tuple[str, ...]


def run(job: Job, name: str, settings: dict[str, Any], tell: Tell) -> None:
    """Runs a trial, or goes on with it: cells that are finished stay so.

    Args:
        job: what all trials share.
        name: of the trial, and of its run's folder.
        settings: field -> value, in place of what the spec starts from.
        tell: hears ``{"tests": int, "objective": float}`` after each test on the way, and once
            ``{"outcome": "finished" | "diverged" | "refused", "message": str}`` at the end. It
            may not return: the sweep ends a trial there that does too badly.

    Raises:
        FileNotFoundError: the sweep's folder is not to be seen on this machine.
    """
    sys.path += [path for path in job.beside if path not in sys.path]
    if not job.trials.parent.is_dir():
        raise FileNotFoundError(
            f"{job.trials.parent} is not there on {os.uname().nodename}: --out must lie on a file "
            "system that all machines of the cluster share"
        )
    config = job.spec.config(settings)
    try:
        _compare(config, job, name, tell)
    except ConfigError as error:  # trying again would not help
        tell({"outcome": "refused", "message": str(error)})
    except FloatingPointError as error:
        tell({"outcome": "diverged", "message": str(error)})
    else:
        tell({"outcome": "finished", "message": ""})


def _compare(config: CompareConfig, job: Job, name: str, tell: Tell) -> None:
    _prepare(config, job)
    from experiments import compare
    from experiments.creation import stored
    from experiments.folder import RunFolder
    from experiments.progress import Progress

    path = job.trials / name
    if (path / "config.json").is_file():
        folder = RunFolder.open(path)
        folder.refuse_links()
    else:
        folder = RunFolder.create(path, overwrite=False)
        line = shlex.join(["levelburst", "compare", *flags(config)])
        folder.write("config.json", {"command": "compare", "command_line": line} | stored(config))
        folder.log([])
    comparison = compare.Comparison(config, folder, Progress())
    compare.run(comparison, Ear(config, job.spec, folder, tell))


def _prepare(config: CompareConfig, job: Job) -> None:
    """JAX with the devices that the trial was given."""
    sweep = job.spec.sweep
    if not sweep.gpus and not sweep.tpus:
        os.environ["JAX_PLATFORMS"] = "cpu"  # accelerators that it did not ask for are not its own
    elif 0 < sweep.gpus < 1:
        os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", f"{0.9 * sweep.gpus:.2f}")
    from experiments.cli import _prepare_jax

    if not sweep.gpus and not sweep.tpus:
        config = dataclasses.replace(config, devices=config.devices or sweep.cpus)
    if _prepare_jax(config) == "cpu":
        refuse_on_cpu(config)


class Ear:
    """Listens to a comparison and tells the sweep: how many tests of cells are behind it, and the
    objective on what has been tested so far (a seed that is still training counts as it is)."""

    def __init__(self, config: CompareConfig, spec: SweepSpec, folder: Any, tell: Tell):
        self.spec, self.tell = spec, tell
        cells = [(arm, config.seed + i) for arm in config.arms for i in range(config.seeds)]
        done = [cell for cell in cells if folder.finished(*cell)]
        rows = [row for cell in done for row in folder.read(f"cells/{folder.cell(*cell)}.json")]
        self.tests = len(done) * config.curve
        self.scores = spec.objective.of_rows(rows)

    def __call__(self, lines: list[dict[str, Any]]) -> None:
        """Hears of one test of each cell of a wave."""
        self.tests += len({(line["arm"], line["seed"]) for line in lines})
        for arm, found in self.spec.objective.of_lines(lines).items():
            self.scores[arm] |= found
        now = self.spec.objective.measure(self.scores)
        if now is not None:
            self.tell({"tests": self.tests, "objective": now.estimate})
