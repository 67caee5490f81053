"""Cells of a trained model: what its confidence foretells, and how votes by it come out."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from pathlib import Path
from typing import Any

import jax

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
from icl.signals.ballots import Poll, polls, rewarded
from icl.signals.confidence import default_window
from icl.signals.lanes import go, start
from icl.signals.omens import Foretold, foretold
from icl.signals.reader import reading

TASK = dataclasses.replace(
    QUICK, arms=("bursty",), readers=(), families=("commit",), test_families=(), horizon=24,
    stickiness=0.0, demonstrations=("whole",),
)  # fmt: skip
"""The main job in one family that ends in an answer, its hands steady: what is chosen is said."""
LANES = 128


def read(config: SignalsConfig, shown: str, seed: int) -> dict[str, Any]:
    """Of a model of this seed that was trained in context, and acts at temperature 1 on levels that
    it has not seen: AUROC of success of every score, mean over the levels where some lanes succeed
    and some fail, and of every way to vote the share of levels that it answers right and the share
    of majority's actions that it saves. ``shown``: demonstrations in its context."""
    small = config.preset == "smoke"
    count = max(config.levels // 16, 1) * 16
    actor, unseen = _trained(count, seed, small)
    key = jax.random.fold_in(new_key(seed), 7)
    show_key, play_key = jax.random.split(key)
    found = _show(show_key, Arm(), ((unseen,),), count=count, demos=TASK.demos, kinds=("whole",))
    levels, contexts = jax.tree.map(lambda x: x[0], (found.levels[0], found.contexts))
    contexts, lengths = jax.tree.map(lambda x: x[0], contexts), found.lengths[0, 0, :, int(shown)]
    lanes = 32 if small else LANES
    told, votes = jax.device_get(
        _play(actor, unseen.env, levels, contexts, lengths, play_key, lanes=lanes)
    )
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


_show = jax.jit(show, static_argnames=("count", "demos", "kinds"))


@functools.partial(jax.jit, static_argnames="lanes")
def _play(
    actor: ModelActor,
    env: Env,
    levels: Level,
    contexts: Context,
    lengths: jax.Array,
    key: jax.Array,
    *,
    lanes: int,
) -> tuple[Foretold, dict[str, Poll]]:
    agent = reading(actor, contexts, lengths)
    begun = start(agent, env, key, levels, lanes)
    played, _ = go(agent, env, levels, begun)
    votes = polls(agent, env, levels, begun, rewarded(env, levels), (lanes,))
    return foretold(played, default_window(env.horizon)), votes


@functools.lru_cache(maxsize=8)
def _trained(levels: int, seed: int, small: bool) -> tuple[ModelActor, LevelSet]:
    """The model of a seed, and ``levels`` levels that it has not seen."""
    config = dataclasses.replace(TASK, seed=seed, seeds=1, levels=levels)
    if small:
        config = dataclasses.replace(config, updates=8, report_every=4, train_levels=128)
    with tempfile.TemporaryDirectory() as place:
        job = Comparison(config, RunFolder(Path(place)))
        fill(job)
        like = job.initial(seed)[1].parameters
        kept = checkpoint.restore(job.folder.checkpoint("bursty", seed), like)
        actor = job.program.actor(kept)
        assert isinstance(actor, ModelActor)
        return actor, job.levels(seed).test[0][1]
