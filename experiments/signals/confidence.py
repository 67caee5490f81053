"""Cells of local confidence: what it foretells, and how votes by it come out, in every regime."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.core import Env, Level
from envs.families.commit import Commit
from envs.keys import new_key
from experiments.cli_envs import made, settings
from experiments.errors import ConfigError
from experiments.signals.config import SignalsConfig, VoteConfig
from icl.signals.ballots import ballots
from icl.signals.breakdowns import Regime, regime_of
from icl.signals.distances import far_levels
from icl.signals.omens import omens

NEAREST, FARTHEST = 24, 36  # steps to the answer: a window of 4 has places to lie in


def foretell(config: SignalsConfig, regime: str, seed: int) -> dict[str, Any]:
    """AUROC of success of every score, with breakdowns and with noise spread evenly, and how often
    the lowest window lies at the breakdown; means over levels."""
    env, levels = _rooms(config.levels, seed)
    lanes = 128 if config.preset != "smoke" else 32
    key = jax.random.fold_in(new_key(seed), 5)
    found = jax.device_get(omens(env, key, levels, regime_of(regime), lanes=lanes))
    told = found.local.told & found.even.told
    made: dict[str, Any] = {
        noise: {score: {"auroc": _mean(area[told])} for score, area in foretold.auroc.items()}
        for noise, foretold in (("breakdown", found.local), ("even", found.even))
    }
    broke = found.found.lanes
    near, chance = (
        float(np.average(getattr(found.found, name), weights=broke)) for name in ("near", "chance")
    )
    return made | {"found": {"near": near, "chance": chance, "ratio": near / chance}}


def vote(config: SignalsConfig, regime: str, seed: int) -> dict[str, Any]:
    """Of every way to vote: the share of levels that it answers right, and the share of majority's
    actions that it saves, warm-up counted."""
    env, levels = _rooms(2 * config.levels, seed)
    budgets = (128, 256) if config.preset != "smoke" else (32, 64)
    found = jax.device_get(ballots(env, _key(seed), levels, regime_of(regime), budgets=budgets))
    whole = found["majority"].actions
    return {
        str(number): {
            way: {
                "right": float(poll.right[number].mean()),
                "saved": 1 - float(poll.actions[number].sum() / whole[number].sum()),
            }
            for way, poll in found.items()
        }
        for number in range(len(budgets))
    }


def poll(config: VoteConfig, regime: str, seed: int) -> dict[str, Any]:
    """The same of votes that are set by hand.

    Raises:
        ConfigError: as of ``check_poll``, or the levels are too near.
    """
    env, numbers = _room(config), _regime(regime)
    try:
        levels = _far(env, config.levels, seed, config.nearest, config.farthest)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    sizes = {"budgets": (config.budget,), "warmup": config.warmup}
    found = jax.device_get(ballots(env, _key(seed), levels, numbers, **sizes))
    whole = found["majority"].actions.sum()
    return {
        way: {"right": float(x.right.mean()), "saved": 1 - float(x.actions.sum() / whole)}
        for way, x in found.items()
    }


def check_poll(config: VoteConfig) -> None:
    """Looks, before anything is measured, at what runs vote in, and by which regimes.

    Raises:
        ConfigError: the family has no answers or no oracle, or there is no such regime.
    """
    _room(config)
    for regime in config.regime:
        _regime(regime)


def _room(config: VoteConfig) -> Env:
    bare = made(config.family, {})
    if not bare.num_states or not isinstance(bare.bare, Commit):
        raise ConfigError(
            f"family {config.family} has no answers that end an episode, so runs cannot vote; use "
            "commit, or a family derived from it"
        )
    return made(config.family, settings(config.set))


def _regime(name: str) -> Regime:
    try:
        return regime_of(name)
    except ValueError as error:
        raise ConfigError(str(error)) from None


@functools.lru_cache(maxsize=8)
def _rooms(count: int, seed: int) -> tuple[Env, Level]:
    """Rooms of ``commit`` in which the clue is far."""
    env = envs.make("commit", size=20, horizon=50, density=0.3)
    return env, _far(env, count, seed, NEAREST, FARTHEST)


def _far(env: Env, count: int, seed: int, nearest: int, farthest: int) -> Level:
    pool, which = far_levels(env, jax.random.fold_in(new_key(seed), 4), count, nearest, farthest)
    return pool.levels(jnp.asarray(which))


def _key(seed: int) -> jax.Array:
    return jax.random.fold_in(new_key(seed), 6)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
