"""Cells of learning from an expert, on levels that the policy never wins in 64 runs."""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.grpo import GRPOConfig
from envs.keys import new_key
from experiments.errors import ConfigError
from experiments.signals.config import SignalsConfig
from experiments.signals.place import environment
from experiments.signals.ready import ready
from icl.signals import coaching, instances
from icl.signals.coaching import Course, Playing, Stepwise
from icl.signals.lanes import Lanes, Snapshot, Table
from icl.signals.likeness import of_runs, of_steps
from icl.signals.methods import Chains
from icl.signals.world import World, drawn, world

TRIES = 64  # runs, none of which wins
POOL = 4  # levels that are tried for each one that is wanted
SWITCH = 0.5  # share of the budget after which SRL makes way for RL
WAYS = ("srl", "srl-rl", "one-shot", "rl", "bc")


@dataclasses.dataclass(frozen=True)
class Plan:
    """Who teaches, as ``WAY@field=value,…`` says.

    Attributes:
        way: a name in WAYS.
        moves: of the expert, that make a step.
        reference: what answers are held against (icl/signals/instances.py).
        spread: ε of the filter, in hundredths; -1 for no filter.
        batch: groups in a lesson of SRL.
        last: 1 where the expert's last step is asked for, too; 0 as in the paper.
    """

    way: str
    moves: int = 1
    reference: instances.Reference = "expert"
    spread: int = 1
    batch: int = 4
    last: int = 0


def planned(text: str) -> Plan:
    """``WAY@field=value,…`` as a Plan.

    Raises:
        ConfigError: there is none of that name, or no such field.
    """
    way, _, fields = text.partition("@")
    told: dict[str, str] = {}
    for field in fields.split(",") if fields else ():
        name, _, told[name] = field.partition("=")
    whole = {field.name for field in dataclasses.fields(Plan)} - {"way", "reference"}
    named = told.pop("reference", "expert")
    held: instances.Reference | None = next((x for x in instances.REFERENCES if x == named), None)
    fine = all(name in whole and value.lstrip("-").isdigit() for name, value in told.items())
    if way not in WAYS or held is None or not fine:
        raise ConfigError(
            f"teacher {text!r}: use one of {', '.join(WAYS)}, and after an @ numbers of "
            f"{', '.join(sorted(whole))}, or reference= {', '.join(instances.REFERENCES)}, as in "
            "srl@moves=2"
        )
    return Plan(way, **{n: int(x) for n, x in told.items()}, reference=held)


def teach(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """Success and updates after each tenth of the budget, means of the levels; and the share of the
    groups drawn that were learned from. Of ``bc``: after as many updates as SRL made by then."""
    plan = planned(method)
    place, policy = _hard(config, seed)
    first = coaching.begin(policy)
    learner = GRPOConfig(config.epochs, config.learning_rate, kl=0.0)
    if plan.way == "bc":
        updates = _course(config, dataclasses.replace(plan, way="srl"), seed).updates
        lanes = _expert(config, seed)[0]
        _, course = ready(coaching.imitate, place, lanes, first, learner, updates)
    else:
        course = _course(config, plan, seed)
    course = jax.device_get(course)
    return {
        "success": course.success.mean(0).tolist(),
        "updates": course.updates.mean(0).tolist(),
        "kept": float(course.kept.sum() / max(course.asked.sum(), 1)),
        "levels": len(course.kept),
    }


def likeness(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """How alike two optimal ways are that differ, and random actions and an optimal way, by what
    an answer is paid: of the ``steps`` that a teacher asks for, and of whole ``runs``. Null where
    no level has two optimal ways."""
    plan = planned(method)
    place, _ = _hard(config, seed)
    keys = jax.random.split(jax.random.fold_in(new_key(seed), 13), 3)
    try:
        wanted = instances.steps(
            place, _expert(config, seed), keys[0], moves=plan.moves, reference="optimal", last=True
        )
    except ValueError as error:
        raise ConfigError(str(error)) from None
    found = {
        "steps": _of_steps(keys[1], wanted, place.env.num_actions),
        "runs": _of_runs(place, keys[2]),
    }
    return {
        of: {
            field.name: {"alike": _finite(getattr(told, field.name))}
            for field in dataclasses.fields(told)
        }
        for of, told in found.items()
    }


_of_steps = jax.jit(of_steps, static_argnames="actions")
_of_runs = jax.jit(of_runs)


def _finite(value: jax.Array) -> float | None:
    return float(value) if math.isfinite(value) else None


@functools.lru_cache(maxsize=16)
def _course(config: SignalsConfig, plan: Plan, seed: int) -> Course:
    """What a teacher came to; imitation asks for that of SRL again."""
    place, policy = _hard(config, seed)
    key = new_key(seed)
    run, restored = _expert(config, seed), jax.random.fold_in(key, 10)
    whole = plan.way == "one-shot"
    first = coaching.begin(policy, place.env.horizon if whole else instances.LONGEST)
    try:
        if whole:
            wanted = instances.whole(place, run, restored)
            teachers, shares = (Stepwise(wanted, longest=place.env.horizon),), (1.0,)
        else:
            play = (Playing(),) if plan.way != "srl" else ()
            shares = (SWITCH, 1.0) if plan.way == "srl-rl" else (1.0,)
            teachers = play
            if plan.way != "rl":
                wanted = instances.steps(
                    place, run, restored, moves=plan.moves, reference=plan.reference,
                    last=bool(plan.last),
                )  # fmt: skip
                teachers = (Stepwise(wanted, plan.batch, plan.spread / 100), *play)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    learner = GRPOConfig(config.epochs, config.learning_rate, kl=0.0)
    return ready(
        coaching.learn, place, teachers, shares, jax.random.fold_in(key, 11), first, learner,
        jnp.int32(config.total),
    )[1]  # fmt: skip


@functools.lru_cache(maxsize=8)
def _hard(config: SignalsConfig, seed: int) -> tuple[World, Table]:
    """Levels that can be won, and that the policy does not win in 64 runs; and the policy.

    Raises:
        ConfigError: there are too few of them.
    """
    env, key = environment(config), new_key(seed)
    try:
        levels = drawn(env, jax.random.fold_in(key, 8), POOL * config.levels)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    place = world(env, levels)
    policy = place.leaning(config.skill, config.habit)
    never = np.asarray(ready(_never, place, policy, jax.random.fold_in(key, 9)))
    index = np.flatnonzero(never)[: config.levels]
    if len(index) < config.levels:
        raise ConfigError(
            f"{len(index)} of {POOL * config.levels} levels are not won in {TRIES} runs, "
            f"{config.levels} are wanted: lower --skill, or make levels harder with --set"
        )

    def pick(x: jax.Array) -> jax.Array:
        return x[index]

    hard = place.replace(
        levels=jax.tree.map(pick, levels), dynamics=jax.tree.map(pick, place.dynamics)
    )
    return hard, jax.tree.map(pick, policy)


def _never(place: World, policy: Table, key: jax.Array) -> jax.Array:
    """bool[L]: none of 64 runs wins."""
    return (Chains(TRIES)(place, policy, key).lanes.returns <= 0).all(-1)


@functools.lru_cache(maxsize=8)
def _expert(config: SignalsConfig, seed: int) -> tuple[Lanes, Snapshot]:
    """The expert's run in every level; teachers share it."""
    return instances.demonstrated(_hard(config, seed)[0], jax.random.fold_in(new_key(seed), 12))
