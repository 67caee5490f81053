"""Online stopping: a trajectory that loses confidence is given up, and what that saves.

After DeepConf (Fu et al. 2025, arXiv 2508.15260, section 3.2 and algorithm 2): some complete
trajectories of a level set a threshold, the others stop where a window of their confidence falls
below it. ``Guard`` does so while they are played, ``stops`` on complete records; both say the same.
The step whose logits complete the low window is the last one that counts, for its action is drawn
from them.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import static
from icl.signals.confidence import groups, lowest, token_confidence
from icl.signals.voting import WARMUP, bar


def threshold(
    confidence: jax.Array, live: jax.Array, window: int, keep: float | jax.Array
) -> jax.Array:
    """float32[...]: what the lowest groups of the share ``keep`` of the warm-up trajectories reach,
    their percentile 100 − η where ``keep`` is η / 100 (icl/signals/voting.py has the other meaning
    of η).

    Args:
        confidence: float32[..., W, T], of complete trajectories; the paper has W = 16.
        live: bool[..., W, T].
        window: n.
        keep: above 0 and up to 1; 0.1 stops most trajectories, 0.9 few.

    Raises:
        ValueError: no window, or a ``keep`` that is no share.
    """
    return bar(lowest(confidence, live, window), keep)


class Watch(struct.PyTreeNode):
    """What a Guard remembers of one lane.

    Attributes:
        sums: float32[n], of the confidences of its last n, n − 1, … 1 live steps: the window, added
            up as it came in, in the order in which ``groups`` adds.
        seen: int32[], live steps so far.
        stopped: bool[].
    """

    sums: jax.Array
    seen: jax.Array
    stopped: jax.Array


class Guard(struct.PyTreeNode):
    """Watches one lane; vmap it over lanes. Several levels have a threshold each.

    Attributes:
        threshold: float32[].
        window: n; a trajectory of fewer steps never stops.
        k: as in ``token_confidence``.
    """

    threshold: jax.Array
    window: int = static(4)
    k: int | None = static(None)

    def begin(self) -> Watch:
        """The memory before the first step.

        Raises:
            ValueError: the window is empty.
        """
        if self.window < 1:
            raise ValueError(f"window {self.window} of a guard: use 1 or more")
        return Watch(jnp.zeros(self.window), jnp.int32(0), jnp.zeros((), bool))

    def look(self, watch: Watch, logits: jax.Array, live: jax.Array) -> tuple[Watch, jax.Array]:
        """One step.

        Args:
            watch: the memory before it.
            logits: float32[A].
            live: bool[], the step takes place. Where it does not, nothing changes.

        Returns:
            The memory after it, and stop bool[]: the window is full and its mean is below the
            threshold, now or at an earlier step. This step still counts, the next must not be live.
        """
        confidence = token_confidence(logits, self.k)
        sums = jnp.append(watch.sums[1:], 0.0) + confidence
        seen = watch.seen + 1
        low = (seen >= self.window) & (sums[0] / self.window < self.threshold)
        after = Watch(sums, seen, watch.stopped | low)
        watch = jax.tree.map(lambda new, old: jnp.where(live, new, old), after, watch)
        return watch, watch.stopped


def stops(confidence: jax.Array, live: jax.Array, window: int, threshold: jax.Array) -> jax.Array:
    """int32[...]: the step at which a Guard would stop complete trajectories, the last of the first
    window below the threshold; −1 where it never would, as for all that are shorter than a window.

    Args:
        confidence: float32[..., T].
        live: bool[..., T].
        window: n.
        threshold: float32, broadcast against [...].

    Raises:
        ValueError: the window is empty.
    """
    found = groups(confidence, live, window)
    full = live.sum(-1, keepdims=True) >= window
    low = found.exists & full & (found.mean < jnp.asarray(threshold)[..., None])
    return jnp.where(low.any(-1), low.argmax(-1) + window - 1, -1).astype(jnp.int32)


def until(live: jax.Array, stop: jax.Array) -> jax.Array:
    """bool[..., T]: the steps of ``live`` bool[..., T] up to the step ``stop`` int32[...], itself
    included; all where it is −1."""
    stop = stop[..., None]
    return live & ((stop < 0) | (jnp.arange(live.shape[-1]) <= stop))


class Account(struct.PyTreeNode):
    """What the K trajectories of a level cost, and who votes.

    Attributes:
        actions: int32[...], all that were generated, the warm-up's included.
        votes: bool[..., K].
    """

    actions: jax.Array
    votes: jax.Array


def account(
    live: jax.Array, stop: jax.Array, *, warmup: int = WARMUP, used: jax.Array | None = None
) -> Account:
    """Account[...] of trajectories in the order in which they were played.

    Args:
        live: bool[..., K, T]; complete, or frozen from the step behind the stop on: the same.
        stop: int32[..., K], the step at which each was stopped, −1 if it was not. Those of the
            warm-up are complete, so all their steps count; where a stop is given for one, its
            window fell below the threshold, too, and it does not vote, as in the authors' code.
        warmup: the first so many set the threshold.
        used: int32[...], how many were played before there was a ``consensus``, by default all K.
    """
    place = jnp.arange(stop.shape[-1])
    played = jnp.ones(stop.shape, bool) if used is None else place < used[..., None]
    steps = until(live, jnp.where(place < warmup, -1, stop)).sum(-1)
    actions = jnp.where(played, steps, 0).sum(-1).astype(jnp.int32)
    return Account(actions, played & (stop < 0))
