"""Cells of tools: what a policy that learned with them does, also where they fail."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from agents.grpo import NEVER, GRPOConfig
from envs.core import Env
from envs.families.workshop import FOLD
from envs.keys import new_key
from experiments.cli_envs import made, settings
from experiments.errors import ConfigError
from experiments.signals.config import SignalsConfig
from experiments.signals.ready import ready
from icl.signals.lanes import Table
from icl.signals.methods import Chains, Method, Signal
from icl.signals.registry import sized
from icl.signals.sizes import costs
from icl.signals.tools import Habits, calls, habits, tells
from icl.signals.training import learn
from icl.signals.world import World, drawn, world

FLAKY = 0.3  # of the calls fail, where tools are flaky
RUNS = 32  # of each level, that habits are measured over
CLEAN = "simulator"


def tooled(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """Success in the course of a training, and the habits (icl/signals/tools.py) after it and,
    with ``-before`` in their names, at its start."""
    place = _place(config, 0.0, seed)
    return _values(config, method, seed, place, place)


def foldless(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """The same as ``tooled`` of a policy that cannot fold its memory."""
    place = _place(config, 0.0, seed)
    return _values(config, method, seed, place, place, folds=False)


def flaky(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """The same of a policy that is tested with tools that fail silently. ``method@simulator`` has
    learned with tools that never do, in a simulator of the same levels; the policies start alike.
    All success that is told is that with tools that fail."""
    name, _, where = method.partition("@")
    test = _place(config, FLAKY, seed)
    place = test
    if where == CLEAN:
        place = world(test.env.replace(flakiness=0.0), test.levels)
    return _values(config, name, seed, place, test)


def _values(
    config: SignalsConfig, name: str, seed: int, place: World, test: World, *, folds: bool = True
) -> dict[str, Any]:
    policy = test.leaning(config.skill, config.habit)
    if not folds:
        never = test.env.token(jnp.arange(test.env.num_actions)) == FOLD  # type: ignore[attr-defined]
        policy = Table(jnp.where(never, NEVER, policy.scores))
    try:
        cost = costs(place, policy, jax.random.fold_in(new_key(seed), 1))
        chosen = sized(name, config.budget, cost)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    key = jax.random.fold_in(new_key(seed), 3)
    learner, budget = GRPOConfig(config.epochs, config.learning_rate), jnp.int32(config.total)
    found = ready(_trained(chosen), place, test, policy, key, learner, budget)
    curve, before, after = jax.device_get(found)
    told: dict[str, Any] = {
        "success": curve.success.mean(0).tolist(),
        "entropy": curve.entropy.mean(0).tolist(),
        "idle": curve.idle.mean(0).tolist(),
        "updates": float(curve.updates.mean()),
    }
    for words, habit in (("", after), ("-before", before)):
        for field in dataclasses.fields(habit):
            value = float(getattr(habit, field.name))
            told[field.name + words] = value if math.isfinite(value) else None
    return told


@functools.lru_cache(maxsize=64)
def _trained(method: Method) -> Any:
    """(World to learn in, World to be tested in, Table, key, GRPOConfig, budget) -> (Curve, Habits
    at the start, Habits at the end); one function a method."""

    def run(place: World, test: World, policy: Table, key, config, budget) -> Any:
        learn_key, *keys = jax.random.split(key, 3)

        def used(policy: Table, key: jax.Array) -> Habits:
            lanes = Chains(RUNS)(test, policy, key).lanes
            return habits(calls(test, lanes), lanes)

        def elsewhere(_: World, agent: Table, key: jax.Array) -> Signal:
            return method(place, agent, key)  # learned here, and told by success where it is tested

        after, curve = learn(test, elsewhere, learn_key, policy, config, budget)  # type: ignore
        return curve, used(policy, keys[0]), used(after, keys[1])

    return run


@functools.lru_cache(maxsize=8)
def _place(config: SignalsConfig, flakiness: float, seed: int) -> World:
    """The levels of a seed, those that can be won where so many calls fail; methods share them."""
    env: Env = made(config.family, settings(config.set))
    if not tells(env) or config.stickiness:
        raise ConfigError(
            f"family {config.family}, stickiness {config.stickiness:g}: calls of tools are told in "
            "workshop, and where hands do not stick; use it, at 0"
        )
    env = env.replace(flakiness=flakiness) if flakiness else env
    try:
        return world(env, drawn(env, jax.random.fold_in(new_key(seed), 0), config.levels))
    except ValueError as error:
        raise ConfigError(str(error)) from None
