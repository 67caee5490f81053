"""Many comparisons: a grid or a search, run on Ray Tune, each trial in a process of its own."""

from __future__ import annotations

import functools
import math
import shutil
import time
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler

from experiments import sweep_trial
from experiments.progress import Bar, Progress
from experiments.sweep_cluster import request
from experiments.sweep_folder import SweepFolder, Trial, best
from experiments.sweep_search import Source
from experiments.sweep_spec import SweepSpec

STORAGE = ".ray"  # Tune's own notes; nothing in them is needed to go on


def run(spec: SweepSpec, folder: SweepFolder, trials: list[Trial], beside: tuple[str, ...]) -> None:
    """Runs the trials that are not over, on the Ray that this process is connected to.

    Args:
        spec: the sweep.
        folder: what becomes of each trial is written there at once.
        trials: those that are known; a search adds to them.
        beside: folders on the Python path of whoever started it.
    """
    progress = Progress()
    source = Source(spec, trials, lambda: folder.save(trials))
    if not source.left:
        return
    scheduler = early_stopping(spec, trials)
    job = sweep_trial.Job(spec, folder.runs.resolve(), beside)
    storage = folder.path.resolve() / STORAGE
    with (
        progress.task("trials", source.left, "trials") as bar,
        folder.aside(),  # again: a bar on a terminal takes standard output for itself
    ):
        recorder = Recorder(spec, folder, source, progress, bar)
        try:
            # Not a Tuner: that one pickles itself, for a restore that is not ours.
            tune.run(
                functools.partial(_trial, job=job),
                name="tune",
                storage_path=str(storage),
                resources_per_trial=tune.PlacementGroupFactory([request(spec.sweep)]),
                search_alg=source,
                scheduler=scheduler,
                num_samples=source.left,
                max_concurrent_trials=spec.sweep.concurrent or None,
                max_failures=spec.sweep.retries,
                raise_on_failed_trial=False,
                callbacks=[recorder],
                verbose=0,
            )
        finally:
            folder.save(trials)
            shutil.rmtree(storage, ignore_errors=True)


def _trial(config: dict[str, Any], job: sweep_trial.Job) -> None:
    """What Tune starts in a process of its own."""
    sweep_trial.run(job, config["name"], config["settings"], tune.report)


def early_stopping(spec: SweepSpec, trials: list[Trial]) -> AsyncHyperBandScheduler | None:
    """ASHA, which hears again what it heard of trials that are over; None where not asked for."""
    asha = spec.sweep.asha
    if asha is None:
        return None
    config = spec.config(spec.points()[0])  # what counts here is the same in all
    tests = len(config.arms) * config.seeds * config.curve
    scheduler = AsyncHyperBandScheduler(
        time_attr="tests",
        metric="objective",
        mode=spec.objective.mode,
        grace_period=min(max(1, math.ceil(asha.grace * tests)), tests - 1),
        reduction_factor=asha.reduction,
        # The last rung lies before the last test, after which nothing is left to be saved.
        max_t=tests - 1,
        stop_last_trials=False,
    )
    for trial in trials:
        if trial.over:
            old: Any = Known(trial.name)
            scheduler.on_trial_add(None, old)  # pyright: ignore[reportArgumentType]
            for heard, objective in trial.tests:
                result = {"tests": heard, "objective": objective}
                scheduler.on_trial_result(None, old, result)  # pyright: ignore[reportArgumentType]
            scheduler.on_trial_remove(None, old)  # pyright: ignore[reportArgumentType]
    return scheduler


class Known:
    """A trial of before, as far as a scheduler asks."""

    def __init__(self, name: str):
        self.trial_id = name


class Recorder(tune.Callback):
    """Writes down what becomes of each trial, and says so."""

    def __init__(
        self, spec: SweepSpec, folder: SweepFolder, source: Source, progress: Progress, bar: Bar
    ):
        self.spec, self.folder, self.source = spec, folder, source
        self.progress, self.bar = progress, bar
        self.started: dict[str, float] = {}
        self.outcomes: dict[str, dict[str, Any]] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process begins."""
        own = self._own(trial)
        own.status, own.attempts = "running", own.attempts + 1
        self.started[own.name] = time.perf_counter()
        self._keep()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """A test on the way, or the end."""
        own = self._own(trial)
        if "outcome" in result:
            self.outcomes[own.name] = result
        elif "objective" in result:
            tests, objective = result["tests"], result["objective"]
            if self.source.study and all(heard != tests for heard, _ in own.tests):
                self.source.study.hear(own, tests, objective)
            # A trial that was begun again repeats what it had not finished.
            own.tests = [(n, x) for n, x in own.tests if n < tests] + [(tests, objective)]
            own.objective = objective
            self._keep()

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process died and another will go on."""
        own = self._own(trial)
        self._stop_clock(own)
        left = self.spec.sweep.retries + 1 - own.attempts
        self.progress.say(f"{own.name}: its process died; {left} more to try")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A process died and none will go on."""
        own = self._own(trial)
        text = Path(trial.error_file).read_text(encoding="utf-8").strip()
        target = self.folder.runs / own.name / "error.txt"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text + "\n", encoding="utf-8")
        own.status, own.message = "failed", _last(text)
        self._end(own)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """A trial came to its end, or was stopped on the way."""
        own = self._own(trial)
        outcome = self.outcomes.pop(own.name, None)
        if outcome is None:
            own.status = "stopped"
            own.message = f"early, after {own.tests[-1][0] if own.tests else 0} tests"
        else:
            own.status, own.message = outcome["outcome"], outcome["message"]
            if own.status == "finished":
                self.folder.conclude(self.spec, own)
        self._end(own)

    def _own(self, trial: Any) -> Trial:
        return self.source.named[trial.trial_id]

    def _stop_clock(self, own: Trial) -> None:
        own.seconds = round(
            own.seconds + time.perf_counter() - self.started.pop(own.name, time.perf_counter()), 1
        )

    def _keep(self) -> None:
        self.folder.save(self.source.trials)

    def _end(self, own: Trial) -> None:
        self._stop_clock(own)
        if self.source.study:
            self.source.study.end(own)
        self._keep()
        value = "" if own.objective is None else f" {own.objective:.3f}"
        message = f" ({own.message})" if own.message else ""
        leader = best(self.spec, self.source.trials)
        lead = f"; best {leader.objective:.3f}, {leader.name}" if leader else ""
        self.progress.say(f"{own.name}: {own.status}{value}{message}{lead}")
        self.bar.advance(1)


def _last(text: str) -> str:
    """The line of a traceback that says what happened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    named = [
        x for x in lines if x.split(":")[0].rpartition(".")[2].endswith(("Error", "Exception"))
    ]
    if named:
        return named[-1][:300]
    return lines[-1].partition(". ")[0] if lines else "its process died"
