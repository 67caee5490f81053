"""A reader in lanes: a trained model that acts from demonstrations, one lane at a time.

The demonstrations of a level are prefilled once; a lane remembers what it has read of its own
episode, so that it can be stopped, or forked, at any step. Actions are drawn from the logits as
they are, at temperature 1.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Cache
from envs.core import Env, Episode, Level, static
from icl.actor import ModelActor
from icl.contexts import Context
from icl.episodes import last_shown
from icl.stage import tokens_after


class Mind:
    """What all levels share: the model, with its parameters. It is compared by identity, so that
    lanes can be mapped over levels without a copy of it for each of them.

    Args:
        actor: the model; inside of a compiled function its parameters may be traced.
    """

    def __init__(self, actor: ModelActor):
        self.actor = actor

    @property
    def model(self) -> Any:
        """The model itself."""
        return nnx.merge(self.actor.graph, self.actor.parameters)


class Reading(struct.PyTreeNode):
    """An Agent (icl/signals/lanes.py) of each level, stacked on L. Make it in the compiled function
    that uses it: as an argument of one, its parameters would be constants.

    Attributes:
        prefix: what the model made of the level's context, float[H, P * stride, D] of each layer.
        length: int32[], the steps of the context that are read.
        opening: Tokens[], what a first token says about the context's last step.
        mind: the model.
    """

    prefix: Cache
    length: jax.Array
    opening: Tokens
    mind: Mind = static(None)

    def begin(self, env: Env, level: Level) -> Cache:
        """An empty cache float[1, 1, H, T * stride, D] of each layer, for a whole episode."""
        return self.mind.model.empty(1, 1, env.horizon)

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: Cache
    ) -> tuple[jax.Array, Cache]:
        """What the model says after one more token. ``before`` is what stands in it."""
        seen = episode.timestep.observation
        first = self.opening.replace(observation=seen, start=jnp.ones((), bool))
        later = tokens_after(before, episode.timestep)
        tokens = jax.tree.map(lambda x, y: jnp.where(episode.time == 0, x, y), first, later)
        tokens, prefix = self._row(tokens, 2), self._row(self.prefix, 1)
        length = self.length[None, None]
        said, memory = self.mind.model.decode(tokens, prefix, length, memory, episode.time)
        return said[0, 0], memory

    @staticmethod
    def _row(tree: Any, axes: int) -> Any:
        """As a batch of one, over so many axes."""
        return jax.tree.map(lambda x: x.reshape(*(1,) * axes, *x.shape), tree)


def reading(actor: ModelActor, contexts: Context, lengths: jax.Array) -> Reading:
    """Reading[L] of one context a level.

    Args:
        actor: the model.
        contexts: Context[L, P], packed.
        lengths: int32[L], the steps of each that are read; 0 is no demonstration.
    """
    opening = jax.tree.map(lambda x: x[:, 0], last_shown(contexts, lengths[:, None]))
    mind = Mind(actor)
    return Reading(mind.model.prefill(contexts.tokens), lengths, opening, mind)
