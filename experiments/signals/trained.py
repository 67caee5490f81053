"""Cells of a trained model: what its confidence foretells, votes by it, and credit of its steps."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from agents import checkpoint
from envs.core import Env, Level
from envs.keys import new_key
from envs.levels import LevelSet
from experiments.compare import Comparison, fill
from experiments.folder import RunFolder
from experiments.presets import QUICK
from experiments.signals.config import SignalsConfig
from icl.actor import ModelActor
from icl.arms import Arm
from icl.contexts import Context
from icl.demonstrations import show
from icl.signals import grades
from icl.signals.ballots import Poll, polls, rewarded
from icl.signals.confidence import default_window
from icl.signals.lanes import go, start
from icl.signals.methods import Signal
from icl.signals.omens import Foretold, foretold
from icl.signals.reader import Reading, reading
from icl.signals.registry import sized
from icl.signals.sizes import Costs, measured
from icl.signals.truth import advantages
from icl.signals.world import World, world

TASK = dataclasses.replace(
    QUICK, arms=("bursty",), readers=(), families=("commit",), test_families=(), horizon=24,
    stickiness=0.0, demonstrations=("whole",),
)  # fmt: skip
"""The main job in one family that ends in an answer, its hands steady: what is chosen is said."""
LANES = 128
FEW, GRADED, FORKS = 4, 2, 1024  # levels, lanes of each, and forks of each step, that are graded


class Scene(NamedTuple):
    """A trained model and what it reads, L levels that it has not seen.

    Attributes:
        actor: the model.
        env: the family, wrappers included.
        levels: stacked on L.
        contexts: Context[L, P], their demonstrations.
        lengths: int32[L], the steps of them that are read.
    """

    actor: ModelActor
    env: Env
    levels: Level
    contexts: Context
    lengths: jax.Array


def read(config: SignalsConfig, shown: str, seed: int) -> dict[str, Any]:
    """Of a model of this seed that was trained in context, and acts at temperature 1 on levels that
    it has not seen: AUROC of success of every score, mean over the levels where some lanes succeed
    and some fail, and of every way to vote the share of levels that it answers right and the share
    of majority's actions that it saves. ``shown``: demonstrations in its context."""
    small = config.preset == "smoke"
    scene = _scene(int(shown), seed, small)
    key = jax.random.fold_in(new_key(seed), 7)
    told, votes = jax.device_get(_play(scene, key, lanes=32 if small else LANES))
    whole = votes["majority"].actions
    return {
        "success": float(told.success.mean()),
        "scores": {
            score: {"auroc": float(area[told.told].mean()) if told.told.any() else None}
            for score, area in told.auroc.items()
        },
        "votes": {
            way: {
                "right": float(poll.right.mean()),
                "saved": 1 - float(poll.actions.sum() / whole.sum()),
            }
            for way, poll in votes.items()
        },
    }


def credit(config: SignalsConfig, method: str, seed: int) -> dict[str, Any]:
    """How near a method's credit comes to the advantages of the same model, which has a memory, so
    that they are known by forks: one demonstration, the first lanes of a group in each of a few
    levels."""
    small = config.preset == "smoke"
    scene, place = _few(seed, small)
    _, key = jax.random.split(jax.random.fold_in(new_key(seed), 8))
    forks = 32 if small else FORKS
    graded = _graded(sized(method, config.budget, _costs(small)), forks)
    correlation, sign, actions = jax.device_get(graded(scene, place, key))
    return {"correlation": float(correlation), "sign": float(sign), "actions": float(actions)}


@functools.lru_cache(maxsize=8)
def _few(seed: int, small: bool) -> tuple[Scene, World]:
    """What is graded: a few levels, one demonstration shown."""
    actor, env, *rest = _scene(1, seed, small)
    scene = Scene(actor, env, *jax.tree.map(lambda x: x[:FEW], tuple(rest)))
    return scene, world(scene.env, scene.levels)


@functools.lru_cache(maxsize=8)
def _costs(small: bool) -> Costs:
    """What runs of seed 0's model cost: methods are sized by it for all seeds."""
    cost_key, _ = jax.random.split(jax.random.fold_in(new_key(0), 8))
    return Costs.of(_measure(*_few(0, small), cost_key))


@jax.jit
def _measure(scene: Scene, place: World, key: jax.Array) -> Any:
    return measured(place, _agent(scene), key)


@functools.lru_cache(maxsize=32)
def _graded(method: Callable[..., Signal], forks: int) -> Any:
    """(Scene, World, key) -> correlation, sign, actions; one function a method."""

    @jax.jit
    def run(scene: Scene, place: World, key: jax.Array) -> tuple[jax.Array, ...]:
        agent = _agent(scene)
        group_key, fork_key = jax.random.split(key)
        found = method(place, agent, group_key)
        node = grades.received(found.lanes, found.credit)
        lanes, node = jax.tree.map(lambda x: x[:, :GRADED], (found.lanes, node))
        truth = advantages(agent, scene.env, fork_key, scene.levels, lanes, forks)
        # What the noise of the forks leaves of an advantage of 0 has no sign.
        sure = lanes.own & (jnp.abs(truth) > 4 / forks**0.5)
        return (
            grades.correlation(node, truth, lanes.own),
            grades.sign(node, truth, sure),
            found.actions.mean(),
        )

    return run


def _agent(scene: Scene) -> Reading:
    return reading(scene.actor, scene.contexts, scene.lengths)


_show = jax.jit(show, static_argnames=("count", "demos", "kinds"))


@functools.partial(jax.jit, static_argnames="lanes")
def _play(scene: Scene, key: jax.Array, *, lanes: int) -> tuple[Foretold, dict[str, Poll]]:
    agent, env, levels = _agent(scene), scene.env, scene.levels
    begun = start(agent, env, key, levels, lanes)
    played, _ = go(agent, env, levels, begun)
    votes = polls(agent, env, levels, begun, rewarded(env, levels), (lanes,))
    return foretold(played, default_window(env.horizon)), votes


def _scene(shown: int, seed: int, small: bool) -> Scene:
    """The levels that the model has not seen, so many demonstrations shown of each."""
    actor, unseen = _trained(seed, small)
    count = unseen.ids.shape[0]
    key = jax.random.fold_in(new_key(seed), 9)
    found = _show(key, Arm(), ((unseen,),), count=count, demos=TASK.demos, kinds=("whole",))
    levels = jax.tree.map(lambda x: x[0], found.levels[0])
    contexts = jax.tree.map(lambda x: x[0, 0], found.contexts)
    return Scene(actor, unseen.env, levels, contexts, found.lengths[0, 0, :, shown])


@functools.lru_cache(maxsize=8)
def _trained(seed: int, small: bool) -> tuple[ModelActor, LevelSet]:
    """The model of a seed, and the levels of its test that it has not seen."""
    config = dataclasses.replace(TASK, seed=seed, seeds=1)
    if small:
        config = dataclasses.replace(
            config, updates=8, report_every=4, train_levels=128, levels=16
        )  # fmt: skip
    with tempfile.TemporaryDirectory() as place:
        job = Comparison(config, RunFolder(Path(place)))
        fill(job)
        like = job.initial(seed)[1].parameters
        kept = checkpoint.restore(job.folder.checkpoint("bursty", seed), like)
        actor = job.program.actor(kept)
        assert isinstance(actor, ModelActor)
        return actor, job.levels(seed).test[0][1]
