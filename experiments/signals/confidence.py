"""Cells of local confidence: what it foretells, and how votes by it come out, in every regime."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs.core import Env, Level
from envs.keys import new_key
from experiments.signals.config import SignalsConfig
from icl.signals.ballots import ballots
from icl.signals.breakdowns import REGIMES
from icl.signals.distances import far_levels
from icl.signals.omens import omens

NEAREST, FARTHEST = 24, 36  # steps to the answer: a window of 4 has places to lie in


def foretell(config: SignalsConfig, regime: str, seed: int) -> dict[str, Any]:
    """AUROC of success of every score, with breakdowns and with noise spread evenly, and how often
    the lowest window lies at the breakdown; means over levels."""
    env, levels = _rooms(config.levels, seed)
    lanes = 128 if config.preset != "smoke" else 32
    key = jax.random.fold_in(new_key(seed), 5)
    found = jax.device_get(omens(env, key, levels, _numbers(regime), lanes=lanes))
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
    key = jax.random.fold_in(new_key(seed), 6)
    found = jax.device_get(ballots(env, key, levels, _numbers(regime), budgets=budgets))
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


@functools.lru_cache(maxsize=8)
def _rooms(count: int, seed: int) -> tuple[Env, Level]:
    """Rooms of ``commit`` in which the clue is far."""
    env = envs.make("commit", size=20, horizon=50, density=0.3)
    pool, which = far_levels(env, jax.random.fold_in(new_key(seed), 4), count, NEAREST, FARTHEST)
    return env, pool.levels(jnp.asarray(which))


def _numbers(regime: str) -> Any:
    """Of ``NAME`` or ``NAME@field=number,…``."""
    name, _, fields = regime.partition("@")
    pairs = (field.split("=") for field in fields.split(",") if field)
    changed = REGIMES[name].replace(**{field: float(value) for field, value in pairs})
    return jax.tree.map(jnp.asarray, changed)


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if values.size else None
