"""Local confidence: how peaked a policy is, over windows of a trajectory's steps.

After DeepConf (Fu, Wang, Tian and Zhao 2025, arXiv 2508.15260, section 2): a token is a step here,
a trace a trajectory. A confidence is never below 0, and high where the policy is sure. With all
actions in it, it is the mean surprise of a uniform draw, so that the least probable actions rule
it: hence the floor.

Throughout, ``live`` bool[..., T] says which steps took place, one stretch of each trajectory;
whatever lies outside of it, NaN included, changes nothing. A trajectory without live steps has the
lowest confidence there is, 0, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import struct

FLOOR = -20.0  # of log-probabilities


def token_confidence(logits: jax.Array, k: int | None = None) -> jax.Array:
    """float32[...], from 0 to 20: C = −(1 / k) Σ log p over the k most probable actions.

    Args:
        logits: float32[..., A]; −∞ is an action that cannot be taken.
        k: how many actions count, by default all A. Behind a padded interface it is the family's
            own number. At k = 1 the meaning turns round: C is 0 where the policy is sure.

    Raises:
        ValueError: k is not from 1 to A.
    """
    actions = logits.shape[-1]
    k = actions if k is None else k
    if not 1 <= k <= actions:
        raise ValueError(f"k {k} of a confidence over {actions} actions: use 1 to {actions}")
    log = jnp.maximum(jax.nn.log_softmax(logits), FLOOR)
    return -(log if k == actions else jax.lax.top_k(log, k)[0]).mean(-1)


def default_window(horizon: int) -> int:
    """n for trajectories of up to ``horizon`` steps: 8 % of them, rounded up, and at least 4 (the
    paper has 2,048 tokens of some ten thousands).

    Raises:
        ValueError: no horizon.
    """
    if horizon < 1:
        raise ValueError(f"horizon {horizon} of a window: use 1 or more")
    return max(4, -(-8 * horizon // 100))  # in integers: 0.08 * 175 is more than 14


class Groups(struct.PyTreeNode):
    """The windows of trajectories, by the step that each begins at.

    Attributes:
        mean: float32[..., T], the group confidence; 0 where none begins.
        exists: bool[..., T], a group begins here.
    """

    mean: jax.Array
    exists: jax.Array


def groups(confidence: jax.Array, live: jax.Array, window: int) -> Groups:
    """Groups[..., T]: the means over windows of n steps, stride 1, that lie wholly inside the live
    steps. A trajectory of fewer than n live steps has one group, all of it, which begins where it
    does; one of none has no group.

    Args:
        confidence: float32[..., T], of each step.
        live: bool[..., T].
        window: n, which may be more than T.

    Raises:
        ValueError: the window is empty.
    """
    if window < 1:
        raise ValueError(f"window {window} of groups: use 1 or more")
    confidence = jnp.where(live, confidence, 0.0)
    steps = live.sum(-1, keepdims=True)
    alone = live & (live.cumsum(-1) == 1) & (steps < window)
    whole = _slide(live.astype(jnp.int32), window) == window
    short = confidence.sum(-1, keepdims=True) / jnp.maximum(steps, 1)
    mean = jnp.where(alone, short, _slide(confidence, window) / window)
    exists = whole | alone
    return Groups(jnp.where(exists, mean, 0.0), exists)


def _slide(x: jax.Array, window: int) -> jax.Array:
    """[..., T]: the sums over the windows that begin at each step; behind the end there are zeros.
    Each is a sum of its own: differences of running sums would lose digits."""
    ones = (1,) * x.ndim
    padding = [(0, 0)] * (x.ndim - 1) + [(0, window - 1)]
    zero = jnp.zeros((), x.dtype)
    return jax.lax.reduce_window(x, zero, jax.lax.add, (*ones[1:], window), ones, padding)


def mean(confidence: jax.Array, live: jax.Array, window: int) -> jax.Array:
    """float32[...]: over all live steps, whatever the window (section 2.2)."""
    return _mean(confidence, live)


def bottom(confidence: jax.Array, live: jax.Array, window: int) -> jax.Array:
    """float32[...]: the mean of the lowest tenth of the groups, rounded down, but at least one."""
    found = groups(confidence, live, window)
    ordered = jnp.sort(jnp.where(found.exists, found.mean, jnp.inf), axis=-1)
    count = found.exists.sum(-1, keepdims=True)
    lowest = jnp.arange(ordered.shape[-1]) < jnp.maximum(count // 10, 1)
    return _mean(ordered, lowest & (count > 0))


def lowest(confidence: jax.Array, live: jax.Array, window: int) -> jax.Array:
    """float32[...]: the lowest group; it is what online stopping watches."""
    found = groups(confidence, live, window)
    least = jnp.where(found.exists, found.mean, jnp.inf).min(-1)
    return jnp.where(found.exists.any(-1), least, 0.0)


def tail(confidence: jax.Array, live: jax.Array, window: int) -> jax.Array:
    """float32[...]: the mean of the last n live steps; of all, where there are fewer."""
    left = jnp.flip(jnp.flip(live, -1).cumsum(-1), -1)  # live steps from here on
    return _mean(confidence, live & (left <= window))


def _mean(values: jax.Array, counted: jax.Array) -> jax.Array:
    """float32[...]: over the last axis; 0 of nothing."""
    return jnp.where(counted, values, 0.0).sum(-1) / jnp.maximum(counted.sum(-1), 1)


Score = Callable[[jax.Array, jax.Array, int], jax.Array]
SCORES: Mapping[str, Score] = MappingProxyType(
    {"mean": mean, "bottom-10": bottom, "lowest": lowest, "tail": tail}
)  # of a trajectory: (confidence float32[..., T], live bool[..., T], window) -> float32[...]


def where(confidence: jax.Array, live: jax.Array, window: int) -> jax.Array:
    """int32[...]: the step at which the lowest group begins, the first one of equals; −1 without
    live steps."""
    found = groups(confidence, live, window)
    first = jnp.where(found.exists, found.mean, jnp.inf).argmin(-1)
    return jnp.where(found.exists.any(-1), first, -1).astype(jnp.int32)
