"""Replays: what a trained model was shown, what it did then, and how that compares to the oracle.

The episodes are those that evaluation plays, in its first levels: the same keys, the same scan, so
what a person watches is what was measured.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx, struct

from agents.tokens import Tokens
from agents.transformer import Transformer
from envs import tiles
from envs.core import Env, Level, State, static
from envs.film import draws
from envs.oracle import solve
from envs.wrappers import Wrapper
from icl.actor import ModelActor
from icl.arms import Arm
from icl.conditions import ACTINGS
from icl.contexts import Context
from icl.demonstrations import Families, show
from icl.episodes import Moments
from icl.evaluate import EvaluateConfig, first_block
from icl.judgement import Judgement, judge


class Replay(struct.PyTreeNode):
    """Sampled episodes in the first n levels of S sets, at k = 0 … K demonstrations of D kinds, and
    the demonstrations. Pictures are those of ``draw``, blank around and for families without one.

    Attributes:
        before: int32[S, D, n, K * T, H, W], the pictures of the demonstrations before each step.
        after: int32[S, D, n, K * T, H, W], and after it.
        context: Context[S, D, n, K * T], the demonstrations.
        foreign: bool[S, D, n, K * T], the step was played in another level.
        lengths: int32[S, D, n, K + 1], the length of the first k slots.
        pictures: int32[S, D, n, K + 1, T + 1, H, W], of the episode.
        tokens: Tokens[S, D, n, K + 1, T], what the model read of it.
        action: int32[S, D, n, K + 1, T], chosen.
        probability: float32[S, D, n, K + 1, T, A], of every action.
        reward: float32[S, D, n, K + 1, T].
        terminated: bool[S, D, n, K + 1, T], the episode has ended in a final state.
        running: bool[S, D, n, K + 1, T], the step took place.
        returns: float32[S, D, n, K + 1], as evaluation counts them.
        success: bool[S, D, n, K + 1], likewise.
        judgement: Judgement[S, D, n, K + 1]; of families without an oracle it says nothing: no
            action is optimal, no state doomed, no step wrong.
        attention: float32[S, D, n, K + 1, layer, T, (K + 1) * T], from each step of the episode to
            the positions that it stands behind, demonstrations first and then the episode; a mean
            over the heads.
    """

    before: jax.Array
    after: jax.Array
    context: Context
    foreign: jax.Array
    lengths: jax.Array
    pictures: jax.Array
    tokens: Tokens
    action: jax.Array
    probability: jax.Array
    reward: jax.Array
    terminated: jax.Array
    running: jax.Array
    returns: jax.Array
    success: jax.Array
    judgement: Judgement
    attention: jax.Array


class Pictured(Wrapper):
    """Shows the whole truth beside what the agent sees: its observation, flat, and then a picture
    of height × width tiles, in the observation's type. No random number depends on what is
    observed, so an expert plays the very episodes that it plays without."""

    height: int = static(0)
    width: int = static(0)

    @classmethod
    def around(cls, env: Env, size: tuple[int, int]) -> Pictured:
        """Around an environment, for pictures of a size."""
        return cls(env=env, horizon=env.horizon, margin=env.margin, height=size[0], width=size[1])

    def observe(self, level: Level, state: State) -> jax.Array:
        """int32[n + height * width], or uint8 where observations are pixels."""
        seen = self.env.observe(level, state)
        drawn = picture(self.env, level, state, (self.height, self.width))
        return jnp.concatenate([seen.ravel(), drawn.ravel().astype(seen.dtype)])

    def apart(self, both: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Observations [..., *shape] and pictures int32[..., height, width] of what is shown."""
        shape = self.env.observation_shape
        seen, drawn = jnp.split(both, [math.prod(shape)], axis=-1)
        lead = both.shape[:-1]
        drawn = drawn.reshape(*lead, self.height, self.width)
        return seen.reshape(*lead, *shape), drawn.astype(jnp.int32)


def picture(env: Env, level: Level, state: State, size: tuple[int, int]) -> jax.Array:
    """int32[H, W]: the state as tiles, H and W at least those of ``draw``; blank without it."""
    if not draws(env):
        return jnp.full(size, tiles.BLANK, jnp.int32)
    drawn = env.draw(level, state)
    rest = [(0, whole - part) for whole, part in zip(size, drawn.shape)]
    return jnp.pad(drawn.astype(jnp.int32), rest, constant_values=tiles.BLANK)


def size_of(families: Families) -> tuple[int, int]:
    """H and W that hold the pictures of all families."""
    shapes = [(1, 1)]
    for pool, *_ in families:
        if draws(pool.env):
            level = jax.eval_shape(pool.level, 0)
            state = jax.eval_shape(pool.env.reset, pool.key, level)
            shapes.append(jax.eval_shape(pool.env.draw, level, state).shape)
    return max(h for h, _ in shapes), max(w for _, w in shapes)


def replay(
    actor: ModelActor,
    config: EvaluateConfig,
    keys: tuple[jax.Array, jax.Array],
    arm: Arm,
    families: Families,
    *,
    count: int,
) -> Replay:
    """Plays again what ``evaluate`` plays in the first levels.

    Args:
        actor: the model.
        config: as evaluation had it.
        keys: what ``show`` and ``evaluate`` were given; consumed.
        arm: likewise.
        families: the level sets.
        count: n, at most ``config.block``.
    """
    size = size_of(families)
    pictured = [Pictured.around(family[0].env, size) for family in families]
    drawn = tuple(
        tuple(pool.replace(env=env) for pool in family) for env, family in zip(pictured, families)
    )
    shown = show(keys[0], arm, drawn, count=config.levels, demos=config.demos)
    apart, steps = pictured[0].apart, shown.contexts.steps
    (observation, before), (successor, after) = apart(steps.observation), apart(steps.successor)
    steps = steps.replace(observation=observation, successor=successor)
    shown = shown.replace(contexts=shown.contexts.replace(steps=steps))
    played, moments = first_block(actor, config, keys[1], families, shown)
    before, after, context, lengths = jax.tree.map(
        lambda x: x[:, :, :count], (before, after, shown.contexts, shown.lengths)
    )
    each = (max(config.demos, 1) + 1) * families[0][0].env.horizon
    foreign = context.source // each != jnp.arange(count)[:, None]

    sets, kinds = lengths.shape[:2]
    rows = (kinds, config.block, config.demos + 1, len(ACTINGS), config.episodes)

    def chosen(x: jax.Array, time: bool = True) -> jax.Array:
        """[time, C, N, …] -> [S, D, n, K + 1, time, …] of the first episode that is sampled."""
        x = x if time else x[None]
        x = x.reshape(len(x), -1, *rows, *x.shape[3:])[:, :, :, :count, :, 0, 0]
        x = jnp.moveaxis(x, 0, 4)
        return x if time else x[:, :, :, :, 0]

    moments = jax.tree.map(chosen, moments)
    judged, pictures, first = [], [], 0
    for index, family in enumerate(families):
        own = slice(first, first + len(family))
        first += len(family)
        levels = jax.tree.map(lambda x: x[:, :count], shown.levels[index])
        found = jax.tree.map(lambda x, own=own: x[own], moments.replace(states=()))
        states = moments.states[index]
        judged.append(_judged(family[0].env, levels, states, found))
        pictures.append(_pictures(family[0].env, levels, states, size))

    def flat(x: jax.Array, axes: int) -> jax.Array:
        return x.reshape(-1, *x.shape[axes:])

    model = nnx.merge(actor.graph, actor.parameters)

    looks = jax.lax.map(
        lambda inputs: attention(model, *inputs),
        (
            jax.tree.map(lambda x: flat(x, 3), context.tokens),
            flat(lengths, 3),
            jax.tree.map(lambda x: flat(x, 3), moments.tokens),
        ),
    )
    return Replay(
        before=before,
        after=after,
        context=context,
        foreign=foreign & context.valid,
        lengths=lengths,
        pictures=jnp.concatenate(pictures),
        tokens=moments.tokens,
        action=moments.action,
        probability=jax.nn.softmax(moments.logits, axis=-1),
        reward=moments.reward,
        terminated=moments.terminated,
        running=moments.running,
        returns=chosen(played.returns, time=False),
        success=chosen(played.success, time=False),
        judgement=jax.tree.map(lambda *x: jnp.concatenate(x), *judged),
        attention=looks.reshape(sets, kinds, count, *looks.shape[1:]),
    )


def joined(shown: Tokens, lengths: jax.Array, own: Tokens) -> Tokens:
    """Tokens[N, P + T]: rows that hold the first steps of a context and then their own.

    Args:
        shown: Tokens[P], of the context.
        lengths: int32[N], how many of them each row sees.
        own: Tokens[N, T].

    Returns:
        What is behind a row repeats its last token; nothing before it depends on that.
    """
    behind, steps = shown.action.shape[0], own.action.shape[1]
    place = jnp.arange(behind + steps)
    early = place < lengths[:, None]
    time = jnp.clip(place - lengths[:, None], 0, steps - 1)

    def join(x: jax.Array, y: jax.Array) -> jax.Array:
        late = y[jnp.arange(len(y))[:, None], time]
        mask = early.reshape(*early.shape, *(1,) * (y.ndim - 2))
        return jnp.where(mask, x[jnp.minimum(place, behind - 1)], late)

    return jax.tree.map(join, shown, own)


def attention(model: Transformer, shown: Tokens, lengths: jax.Array, own: Tokens) -> jax.Array:
    """float32[N, layer, T, P + T]: from every step of N episodes to every position before it, a
    mean over the heads; the arguments are those of ``joined``."""
    steps = own.action.shape[1]
    found = model.attention(joined(shown, lengths, own)).mean(axis=2)
    rows = lengths[:, None] + jnp.arange(steps)
    return jnp.moveaxis(jnp.take_along_axis(found, rows[None, :, :, None], axis=2), 0, 1)


def _judged(env: Env, levels: Level, states: State, found: Moments) -> Judgement:
    """Judgement[split, D, n, K + 1] of one family's episodes."""
    if not env.num_states:
        shape = found.action.shape
        no, none = jnp.zeros((*shape, env.num_actions), bool), jnp.full(shape[:-1], -1, jnp.int32)
        return Judgement(no, jnp.zeros((*shape[:-1], shape[-1] + 1), bool), none, none)

    def one_level(level, states, *told):
        solution = solve(env.tabulate(level))
        numbers = jax.vmap(jax.vmap(lambda s: env.encode(level, s)))
        one = lambda s, *x: judge(solution, s, *x)  # noqa: E731
        return jax.vmap(jax.vmap(one))(jax.vmap(numbers)(states), *told)

    told = (found.action, found.reward, found.terminated, found.running)
    by_level = jax.vmap(jax.vmap(one_level, in_axes=(0, *(1,) * 5), out_axes=1))
    return by_level(levels, states, *told)


def _pictures(env: Env, levels: Level, states: State, size: tuple[int, int]) -> jax.Array:
    """int32[split, D, n, K + 1, T + 1, H, W] of one family's episodes."""

    def one_level(level, states):
        drawn = lambda state: picture(env, level, state, size)  # noqa: E731
        return jax.vmap(jax.vmap(jax.vmap(drawn)))(states)

    return jax.vmap(jax.vmap(one_level, in_axes=(0, 1), out_axes=1))(levels, states)
