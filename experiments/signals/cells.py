"""Cells: what a method came to in one setting with one seed, kept under the hash of what it is."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from agents.grpo import GRPOConfig
from envs.keys import new_key
from experiments.errors import ConfigError
from experiments.folder import RunFolder
from experiments.signals.confidence import foretell, poll, vote
from experiments.signals.config import SignalsConfig
from experiments.signals.curriculum import schooled
from experiments.signals.judged import judge_steps, practised, reinforce, select, sizes
from experiments.signals.kind import Kind, Settings, Values, all_but, only, source
from experiments.signals.order import ordered
from experiments.signals.place import environment
from experiments.signals.ready import ready
from experiments.signals.taught import likeness, teach
from experiments.signals.tooled import flaky, foldless, tooled
from experiments.signals.trained import credit, read
from experiments.study_folder import digest
from icl.signals import grades, truth
from icl.signals.lanes import Table
from icl.signals.methods import Method, Signal
from icl.signals.registry import find, sized
from icl.signals.sizes import Costs, costs
from icl.signals.training import learn
from icl.signals.world import World, drawn, world

GROUPS = 2  # what the key of graded groups is folded with


def identity(kind: str, config: Settings, method: str, seed: int) -> Values:
    """What a cell depends on: with a method or family of one's own, the text of its module, too."""
    own = {name: text for name in (method, config.family) if (text := source(name))}
    told = KINDS[kind].depends(config) | ({"source": own} if own else {})
    return {"kind": kind, "method": method, "seed": seed} | told


def fits(kind: str, config: SignalsConfig) -> None:
    """Sizes every method, which takes no actions of any group.

    Raises:
        ConfigError: there is no such method or family, the budget does not do, or a training would
            not have a single group.
    """
    if kind == "train" and config.total < config.budget:
        raise ConfigError(
            f"total {config.total} is below budget {config.budget}, so nothing is learned; raise "
            "--total, or lower --budget"
        )
    try:
        for method in config.method:
            find(method)  # names first: to draw levels takes time
    except ValueError as error:
        raise ConfigError(str(error)) from None
    for method in config.method:
        _sized(config, method)


@dataclasses.dataclass(frozen=True)
class Cell:
    """Attributes:
    name: the hash of what it depends on.
    values: what was measured.
    seconds: that it took.
    fresh: whether it was measured just now.
    """

    name: str
    values: Values
    seconds: float
    fresh: bool


def kept(folder: RunFolder, kind: str, config: Settings, method: str, seed: int) -> Cell:
    """A cell as the folder keeps it; else it is measured and kept."""
    what = identity(kind, config, method, seed)
    name = digest(what)
    path = f"cells/{name}.json"
    fresh = not (folder.path / path).exists()
    if fresh:
        began = time.monotonic()
        values = KINDS[kind].measure(config, method, seed)
        seconds = round(time.monotonic() - began, 2)
        folder.write(path, what | {"values": values, "seconds": seconds})
    stored = folder.read(path)
    return Cell(name, stored["values"], stored["seconds"], fresh)


def grade(config: SignalsConfig, method: str, seed: int) -> Values:
    """All grades of a method (icl/signals/grades.py), and what a group cost."""
    place, policy = _place(config, seed)
    chosen = _sized(config, method)
    key = jax.random.fold_in(new_key(seed), GROUPS)
    found = jax.device_get(ready(_graded(chosen, config.repetitions), place, policy, key))
    return {field.name: float(getattr(found, field.name)) for field in dataclasses.fields(found)}


def first_group(
    config: SignalsConfig, method: str, seed: int
) -> tuple[World, Signal, truth.Truth, jax.Array]:
    """The first of the groups [L, N, T] that ``grade`` is taken over, in every level; what its
    steps were worth, and what they received in all (grades.received)."""
    place, policy = _place(config, seed)
    chosen = _sized(config, method)

    @jax.jit
    def draw(place: World, policy: Table, key: jax.Array) -> Any:
        found = chosen(place, policy, key)
        right = truth.exact(place.env, place.dynamics, policy.scores, found.lanes)
        return found, right, grades.received(found.lanes, found.credit)

    key = jax.random.fold_in(new_key(seed), GROUPS)
    return place, *draw(place, policy, jax.random.split(key, config.repetitions)[0])


def train(config: SignalsConfig, method: str, seed: int) -> Values:
    """Success, entropy and share of idle steps after each tenth of the budget; means of levels."""
    place, policy = _place(config, seed)
    chosen = _sized(config, method)
    learner = GRPOConfig(config.epochs, config.learning_rate)
    key = jax.random.fold_in(new_key(seed), 3)
    budget = jnp.int32(config.total)
    _, curve = jax.device_get(ready(_trained(chosen), place, policy, key, learner, budget))
    return {
        "success": curve.success.mean(0).tolist(),
        "entropy": curve.entropy.mean(0).tolist(),
        "idle": curve.idle.mean(0).tolist(),
        "updates": float(curve.updates.mean()),
    }


KINDS: Mapping[str, Kind] = {
    "grade": Kind(grade, all_but("total", "learning_rate", "epochs")),
    "train": Kind(train, all_but("repetitions")),
    "foretell": Kind(foretell, only("levels")),
    "vote": Kind(vote, only("levels")),
    "poll": Kind(poll, all_but()),
    "read": Kind(read, only()),
    "credit": Kind(credit, only("budget")),
    "teach": Kind(teach, all_but("repetitions")),
    "likeness": Kind(likeness, all_but("repetitions", "total", "learning_rate", "epochs")),
    "tools": Kind(tooled, all_but("repetitions")),
    "foldless-tools": Kind(foldless, all_but("repetitions")),
    "flaky-tools": Kind(flaky, all_but("repetitions")),
    "judge": Kind(judge_steps, sizes),
    "select": Kind(select, sizes),
    "reinforce": Kind(reinforce, practised),
    "order": Kind(ordered, only("levels")),
    "curriculum": Kind(schooled, only("levels")),
}


@functools.lru_cache(maxsize=8)
def _place(config: SignalsConfig, seed: int) -> tuple[World, Table]:
    """The levels of a seed and the policy in them; methods share them."""
    env = environment(config)
    try:
        levels = drawn(env, jax.random.fold_in(new_key(seed), 0), config.levels)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    place = world(env, levels)
    return place, place.leaning(config.skill, config.habit)


def _sized(config: SignalsConfig, method: str) -> Method:
    """The method, sized by the levels of seed 0: it is one and the same for all seeds, whichever
    are asked for, so no cell depends on which was the first."""
    try:
        return sized(method, config.budget, _costs(config, 0))
    except ValueError as error:
        raise ConfigError(str(error)) from None


@functools.lru_cache(maxsize=8)
def _costs(config: SignalsConfig, seed: int) -> Costs:
    """What runs of the policy cost; methods share it."""
    return costs(*_place(config, seed), jax.random.fold_in(new_key(seed), 1))


@functools.lru_cache(maxsize=64)
def _graded(method: Method, repetitions: int) -> Any:
    """(World, Table, key) -> Grades; one function a method, so that it is compiled once."""

    def run(place: World, policy: Table, key: jax.Array) -> grades.Grades:
        exact = truth.gradient(place.env, place.dynamics, policy.scores)

        def once(key: jax.Array) -> Any:
            found = method(place, policy, key)
            right = truth.exact(place.env, place.dynamics, policy.scores, found.lanes)
            slope = grades.estimated(found.lanes, found.credit, place.env.num_states)
            return found, right, slope

        found, right, slope = jax.lax.map(once, jax.random.split(key, repetitions))
        return grades.grade(found.lanes, found.credit, right, slope, exact, found.actions)

    return run


@functools.lru_cache(maxsize=64)
def _trained(method: Method) -> Any:
    """(World, Table, key, GRPOConfig, budget) -> (Table, Curve); one function a method."""
    return lambda place, policy, key, config, budget: learn(
        place, method, key, policy, config, budget
    )
