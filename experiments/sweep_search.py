"""Which trial comes next: those of a grid in their order, or those that Optuna suggests."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from experiments.sweep_folder import Trial
from experiments.sweep_spec import Range, SweepSpec


class Source(Searcher):
    """Hands trials to Ray Tune: first those that were begun or planned, then Optuna's.

    The names of trials are counted here and not by Tune, so that a sweep which goes on finds the
    folders of its trials again.

    Attributes:
        trials: all trials, in order; a search adds to them.
        named: Tune's id of a trial -> the trial.
    """

    def __init__(self, spec: SweepSpec, trials: list[Trial], changed: Callable[[], None]):
        super().__init__()
        self.spec, self.trials, self.changed = spec, trials, changed
        self.waiting = [trial for trial in trials if not trial.over]
        self.named: dict[str, Trial] = {}
        self.study = Study(spec, trials) if spec.sweep.method == "optuna" else None

    @property
    def left(self) -> int:
        """How many trials are still to run."""
        new = self.spec.sweep.trials - len(self.trials) if self.study else 0
        return len(self.waiting) + max(new, 0)

    def set_search_properties(self, metric: Any, mode: Any, config: dict, **spec: Any) -> bool:
        """Nothing to learn from Tune: the spec says it all."""
        return True

    def suggest(self, trial_id: str) -> Any:
        """The next trial, or that there is none."""
        if self.waiting:
            trial = self.waiting.pop(0)
        elif self.study and len(self.trials) < self.spec.sweep.trials:
            trial = Trial(numbered(len(self.trials)), {})
            self.trials.append(trial)
        else:
            return Searcher.FINISHED
        if self.study:
            trial.settings = self.study.begin(trial)
        self.named[trial_id] = trial
        self.changed()
        return {"name": trial.name, "settings": trial.settings}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Nothing: Tune does not tell a trial that was stopped from one that finished, so
        whoever can calls ``Study.end``."""

    def save(self, checkpoint_path: str) -> None:
        """An empty file, which Tune moves: the sweep's folder holds what is known, no pickle."""
        Path(checkpoint_path).touch()

    def restore(self, checkpoint_path: str) -> None:
        """Nothing."""


class Study:
    """Optuna's tree-structured Parzen estimator over a spec's search."""

    def __init__(self, spec: SweepSpec, trials: list[Trial]):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.optuna, self.search = optuna, spec.search
        self.space = {field: self._distribution(values) for field, values in spec.search.items()}
        # The trials that are known move the seed on: a sweep that goes on draws no point again.
        sampler = optuna.samplers.TPESampler(seed=spec.sweep.seed + len(trials))
        way = "maximize" if spec.objective.mode == "max" else "minimize"
        self.study = optuna.create_study(sampler=sampler, direction=way)
        self.asked: dict[str, Any] = {}
        for trial in trials:
            if trial.over:
                self._tell_again(trial)

    def _distribution(self, values: Any) -> Any:
        kinds = self.optuna.distributions
        if not isinstance(values, Range):  # Optuna's choices are scalars: the place in the list
            return kinds.CategoricalDistribution(range(len(values)))
        if isinstance(values.low, int):
            return kinds.IntDistribution(
                values.low, int(values.high), log=values.log, step=int(values.step) or 1
            )
        return kinds.FloatDistribution(
            values.low, values.high, log=values.log, step=values.step or None
        )

    def begin(self, trial: Trial) -> dict[str, Any]:
        """The settings of a trial: its own, or else those that Optuna suggests."""
        if trial.settings:
            self.study.enqueue_trial(self._parameters(trial.settings))
        asked = self.asked[trial.name] = self.study.ask(self.space)
        return {field: self._value(field, value) for field, value in asked.params.items()}

    def _value(self, field: str, parameter: Any) -> Any:
        values = self.search[field]
        return parameter if isinstance(values, Range) else values[parameter]

    def _parameters(self, settings: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for field, value in settings.items():
            values = self.search[field]
            found[field] = value if isinstance(values, Range) else values.index(value)
        return found

    def hear(self, trial: Trial, tests: int, objective: float) -> None:
        """One test on the way."""
        if math.isfinite(objective):
            self.asked[trial.name].report(objective, tests)

    def end(self, trial: Trial) -> None:
        """How a trial ended. One that was stopped early or diverged counts as a bad one, one whose
        process died as none."""
        asked = self.asked.pop(trial.name, None)
        if asked is not None:
            value = trial.objective if trial.status == "finished" else None
            self.study.tell(asked, value, state=self._state(trial))

    def _state(self, trial: Trial) -> Any:
        states = self.optuna.trial.TrialState
        if trial.status == "finished" and trial.objective is not None:
            return states.COMPLETE
        return states.PRUNED if trial.status in ("stopped", "diverged") else states.FAIL

    def _tell_again(self, trial: Trial) -> None:
        """A trial of before."""
        state = self._state(trial)
        self.study.add_trial(
            self.optuna.trial.create_trial(
                state=state,
                value=trial.objective if state.name == "COMPLETE" else None,
                params=self._parameters(trial.settings),
                distributions=self.space,
                intermediate_values={tests: value for tests, value in trial.tests},
            )
        )


def planned(spec: SweepSpec) -> list[Trial]:
    """The trials of a grid; a search plans none."""
    if spec.sweep.method != "grid":
        return []
    return [Trial(numbered(i), settings) for i, settings in enumerate(spec.points())]


def numbered(place: int) -> str:
    """The name of a trial."""
    return f"trial-{place:03d}"
