"""Groups of the training levels of a comparison, written to a store shard by shard."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from agents.policy import Mixture, Oracle, Random
from envs.core import Policy
from envs.layout import Layout, Part
from envs.levels import LevelSet
from envs.origin import described, numbers_of, software
from envs.rollout import rollout
from envs.store import GROUP
from envs.writer import Writer
from envs.zarr import Form
from experiments import suite as suite_lib
from experiments.cli_collect import CollectConfig
from experiments.errors import ConfigError
from experiments.experts import equip
from experiments.progress import Progress
from experiments.source import epsilon_of, part_name

AXES = {
    "observation": ("rollout", "time", "field"),
    "successor": ("rollout", "time", "field"),
    "fingerprint": ("word",),
    "references": ("reference",),
    "id": (),
}
PIXELS = ("rollout", "time", "row", "column", "colour")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where the groups of one part come from.

    Attributes:
        levels: all of them.
        policy: who plays.
        rollouts: R.
    """

    levels: LevelSet
    policy: Policy
    rollouts: int

    def groups(self, levels: LevelSet, indices: jax.Array) -> dict[str, jax.Array]:
        """The arrays [L, …] of the levels with indices int32[L]; pure. A level's do not depend on
        which others are asked for with it."""
        stacked = levels.levels(indices)
        # The oracle's play is known since the levels were drawn; others think for themselves.
        memory = levels.optimal(indices) if isinstance(self.policy, Oracle) else None
        played = rollout(
            levels.env,
            self.policy,
            levels.rollout_keys(indices),
            stacked,
            rollouts=self.rollouts,
            memory=memory,
        )
        return {
            **{name: getattr(played, name) for name in GROUP},
            "id": levels.ids[indices],
            "references": levels.references[indices],
            **numbers_of(stacked),
        }

    @functools.cached_property
    def compiled(self) -> Callable[..., dict[str, jax.Array]]:
        """``groups``, compiled."""
        return jax.jit(self.groups)

    def forms(self, shard: int) -> dict[str, Form]:
        """The form of each array."""
        shapes = jax.eval_shape(self.groups, self.levels, jnp.zeros(1, jnp.int32))
        return {name: _form(name, x.dtype, x.shape[1:], shard) for name, x in shapes.items()}

    def shard(self, first: int, last: int, size: int) -> dict[str, np.ndarray]:
        """The arrays of the levels from ``first`` up to ``last``, at most ``size`` of them, for
        which one program serves."""
        indices = np.minimum(np.arange(first, first + size), last - 1)
        found = jax.device_get(self.compiled(self.levels, jnp.asarray(indices, jnp.int32)))
        return {name: array[: last - first] for name, array in found.items()}


def collect(config: CollectConfig, progress: Progress) -> str:
    """Writes what is missing of a store, and returns a line about it.

    Raises:
        ConfigError: the settings, or what the folder holds, do not do.
        OSError: it cannot be written; what was written before stays.
    """
    compared = config.compared()
    with tempfile.TemporaryDirectory() as experts:
        suite = equip(compared, suite_lib.build(compared), Path(experts), progress)
    sources: dict[str, Source] = {}
    for seed in range(config.seed, config.seed + config.seeds):
        drawn = suite_lib.draw(compared, suite, seed)
        for name, levels in zip(suite.train, drawn.train, strict=True):
            expert = suite.experts.get(name, Oracle())
            sources[part_name(name, seed)] = Source(
                levels, _policy(config, expert), config.rollouts
            )
    plan, path = _plan(config, sources), Path(config.out)
    try:
        with Writer.opened(path, plan) as writer:
            left = sum(len(writer.left(name)) for name in sources)
            with progress.task("collecting", left, "levels") as bar:
                for name, source in sources.items():
                    bar.say(name)
                    while left := writer.left(name):
                        last = min(left.start + config.shard, left.stop)
                        writer.add(name, source.shard(left.start, last, config.shard))
                        bar.advance(last - left.start)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    total = config.levels * len(sources)
    return (
        f"store {path}: {len(sources)} parts, {total} levels, {total * config.rollouts} "
        f"trajectories; look at it with: levelburst store info {path}"
    )


def _plan(config: CollectConfig, sources: dict[str, Source]) -> Layout:
    parts = {}
    for name, source in sources.items():
        family, _, seed = name.rpartition("/")
        about = {
            "family": family,
            "seed": int(seed),
            "policy": config.policy,
            "rollouts": config.rollouts,
            "split": "train",
            "environment": described(source.levels.env),
        }
        parts[name] = Part(name, config.levels, source.forms(config.shard), about)
    return Layout(
        about={
            "licence": config.licence,
            "software": software(),
            "settings": {
                field: value
                for field, value in dataclasses.asdict(config).items()
                if field not in ("out", "shard", "licence")
            },
        },
        shard=config.shard,
        parts=parts,
    )


def _policy(config: CollectConfig, expert: Policy) -> Policy:
    epsilon = epsilon_of(config.policy)
    if config.policy == "random":
        return Random()
    return Mixture(expert, Random(), epsilon) if epsilon else expert


def _form(name: str, dtype: Any, shape: tuple[int, ...], shard: int) -> Form:
    axes = AXES.get(name, ("rollout", "time"))
    if len(shape) == len(PIXELS) and name in ("observation", "successor"):
        axes = PIXELS
    if name.startswith("level"):
        axes = tuple(f"{name}_{i}" for i in range(len(shape)))
    return Form.of(dtype, shape, axes, most=min(shard, 64))
