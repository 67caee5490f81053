"""Experts for the families of an experiment whose states cannot be enumerated."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from agents import checkpoint
from agents.expert import Expert, untrained
from agents.ppo import Metrics, PPOConfig, train
from envs.core import Env
from envs.keys import new_key
from envs.wrappers import Sticky, wrap
from experiments import processes
from experiments.config import CompareConfig
from experiments.progress import Progress
from experiments.suite import Suite

LEVELS = 4096  # different layouts that an expert trains on
EPISODE = 256  # steps of its episodes, at least: a short horizon hardly ever shows it a reward


def equip(config: CompareConfig, suite: Suite, folder: Path, progress: Progress) -> Suite:
    """The suite with an expert for every family that needs one: restored from ``folder``, or
    trained by PPO and kept there; of several processes the first does it, and tells the others.
    Families with an oracle need none.

    Raises:
        FloatingPointError: a training diverged.
        ValueError: a checkpoint there is of another network.
    """
    experts = {}
    for name, env in {**suite.train, **suite.held_out}.items():
        if not env.num_states:
            experts[name] = _expert(config, name, env.bare, folder, progress)
    return dataclasses.replace(suite, experts=experts)


def _expert(config: CompareConfig, name: str, bare: Env, folder: Path, progress: Progress):
    longer = bare.replace(horizon=max(EPISODE, bare.horizon))
    env = wrap(Sticky, longer, stickiness=config.stickiness)
    key = jax.random.fold_in(new_key(config.seed), 2**28)
    level_key, train_key = jax.random.split(key)
    settings = PPOConfig(
        updates=config.expert_updates,
        chunk=_chunk(config.expert_updates),
        gamma=0.99,
    )
    path, leads = folder / name.replace(":", "-"), processes.leader()
    if path.is_dir() or not leads:
        sizes = {field: getattr(settings, field) for field in ("width", "layers")}
        like = untrained(train_key, env, env.level(level_key), **sizes)
        return _told(checkpoint.restore(path, like) if leads else like)
    levels = jax.jit(jax.vmap(env.level))(jax.random.split(level_key, LEVELS))
    with progress.task(f"expert of {name}", settings.updates, "updates") as bar:

        def report(metrics: Metrics) -> None:
            bar.say(f"expert of {name}, return {np.nanmean(metrics.returns):.2f}")
            bar.advance(len(metrics.returns))

        expert, metrics = train(env, train_key, levels, settings, report)
    last = float(np.nanmean(metrics.returns[-settings.chunk :]))
    progress.say(f"expert of {name}: mean return {last:.2f} at the end of training")
    checkpoint.save(path, expert)
    return _told(expert)


def _told(expert: Expert) -> Expert:
    """Process 0's expert, bit by bit."""
    return jax.tree.map(jnp.asarray, processes.same(expert))


def _chunk(updates: int) -> int:
    """The largest divisor of ``updates`` up to 50: updates between two reports."""
    return max(size for size in range(1, 51) if updates % size == 0)
