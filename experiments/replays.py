"""Replays on disk: a few episodes of each arm's first model, for the viewer in the report.

Numbers and pictures are written as experiments/pictures.py does: a run's ``replays.json`` is to be
a page's guest.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from agents import checkpoint
from envs.core import Env
from experiments.config import CompareConfig
from experiments.pictures import Table, legend, lines, numbers
from icl import arms as arms_lib
from icl.actor import ModelActor
from icl.evaluate import EvaluateConfig
from icl.replay import Replay, replay, size_of

if TYPE_CHECKING:
    from experiments.compare import Comparison

FILE = "replays.json"
SHOWN = ("whole", "as-trained")  # kinds of demonstrations
LEVELS = 2  # of each family and split, if there is room
BUDGET = 3e6  # bytes, about
HASTE = {"xla_backend_optimization_level": 0}  # it runs for milliseconds and compiles for seconds


def write(job: Comparison) -> None:
    """Plays the first seed's model of every arm again and writes ``replays.json``, if it is not
    there yet; where contexts are so long that a page could not hold it, says so instead."""
    config, seed = job.config, job.seeds[0]
    if (job.folder.path / FILE).is_file():
        return  # of a finished run that is resumed
    sets = job.levels(seed)
    size = size_of(sets.test)
    kinds, levels = room(config, len(sets.names), size)
    if not levels:
        job.progress.say("no replays: these contexts are too long for a page")
        return
    shapes = EvaluateConfig(levels=config.levels, episodes=config.episodes, demos=config.demos)
    play = jax.jit(
        lambda actor, keys, arm, families: replay(actor, shapes, keys, arm, families, count=levels),
        compiler_options=HASTE if jax.default_backend() == "cpu" else None,
    )
    if not isinstance(job.program.actor(job.initial(seed)[1].parameters), ModelActor):
        job.progress.say(f"no replays: the viewer shows no {config.method} models")
        return
    like = job.initial(seed)[1].parameters
    pictures, contexts, episodes = Table(), Table(), []
    for name in config.arms:
        arm = arms_lib.named(name, config.chunk)
        kept = checkpoint.restore(job.folder.checkpoint(name, seed), like)
        actor = job.program.actor(kept)
        rule = dataclasses.replace(arm, alone=False)
        found = jax.device_get(play(actor, job.test_keys(seed), rule, sets.test))
        shown = SHOWN[: 1 if arm.alone else kinds]
        for index, (family, split) in enumerate(sets.names):
            head = {"arm": name, "split": split, "family": family}
            env = (job.suite.train | job.suite.held_out)[family]
            for kind, level in np.ndindex(len(shown), levels):
                one = jax.tree.map(lambda x, at=(index, kind, level): x[at], found)
                place = {"level": level, "demonstrations": shown[kind]}
                context = contexts.number(_context(one, pictures, env))
                episodes += [
                    head | place | {"context": context} | _episode(one, k, pictures, env)
                    for k in range(config.demos + 1)
                ]
    job.folder.write(
        FILE,
        {
            "schema": 1,
            "seed": seed,
            "tiles": legend(),
            "pictures": pictures.items,
            "contexts": contexts.items,
            "episodes": episodes,
        },
    )


def room(config: CompareConfig, sets: int, size: tuple[int, int]) -> tuple[int, int]:
    """How many kinds of demonstrations and levels of each set fit the budget; 0 levels if not one.

    Args:
        config: the run.
        sets: families and splits.
        size: of the pictures, in tiles.
    """
    positions = (config.demos + 1) * config.horizon
    # Half of the positions of a step are before it; a number takes two to three characters, and
    # about half of the pictures are new.
    step = config.layers * positions * 1.25 + size[0] * size[1] / 2
    each = len(config.arms) * sets * (config.demos + 1) * config.horizon * step
    for kinds, levels in ((len(SHOWN), LEVELS), (1, LEVELS), (1, 1)):
        if each * kinds * levels <= BUDGET:
            return kinds, levels
    return 1, 0


def _context(one: Replay, pictures: Table, env: Env) -> dict[str, Any]:
    """The demonstrations of a level, all K of them."""
    steps, shown = one.context.steps, int(one.lengths[-1])
    return {
        "lengths": numbers(one.lengths),
        "before": numbers(pictures.number(lines(x, env)) for x in one.before[:shown]),
        "after": numbers(pictures.number(lines(x, env)) for x in one.after[:shown]),
        "observations": _symbols(steps.observation[:shown]),
        "actions": numbers(steps.action[:shown]),
        "rewards": numbers(steps.reward[:shown]),
        "starts": numbers(steps.start[:shown]),
        "cuts": numbers(steps.cut[:shown]),
        "foreign": numbers(one.foreign[:shown]),
    }


def _episode(one: Replay, k: int, pictures: Table, env: Env) -> dict[str, Any]:
    """The episode after k demonstrations."""
    steps, length = int(one.running[k].sum()), int(one.lengths[k])
    judged, oracle = jax.tree.map(lambda x: x[k], one.judgement), bool(env.num_states)
    return {
        "k": k,
        "pictures": numbers(pictures.number(lines(x, env)) for x in one.pictures[k, : steps + 1]),
        "observations": _symbols(one.tokens.observation[k, :steps]),
        "actions": numbers(one.action[k, :steps]),
        "probabilities": [numbers(x) for x in _thousandths(one.probability[k, :steps])],
        "rewards": numbers(one.reward[k, :steps]),
        "optimal": [numbers(np.flatnonzero(x)) for x in judged.optimal[:steps]] if oracle else None,
        "doomed": numbers(judged.doomed[: steps + 1]) if oracle else None,
        "wrong": int(judged.wrong),
        "lost": int(judged.lost),
        "terminated": bool(one.terminated[k, steps - 1]),
        "success": bool(one.success[k]),
        "return": float(one.returns[k]),
        "attention": [
            [numbers(_thousandths(x[: length + t + 1])) for t, x in enumerate(layer[:steps])]
            for layer in one.attention[k]
        ],
    }


def _thousandths(x: Any) -> np.ndarray:
    return np.rint(1000 * x).astype(int)


def _symbols(observations: Any) -> list[str] | None:
    """What a model reads at each step; None of pixels."""
    return None if observations.dtype == np.uint8 else [numbers(x) for x in observations]
