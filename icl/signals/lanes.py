"""Lanes: rollouts side by side that can be forked at any step, memory and key included.

A fork is a gather: the snapshot before a step holds the environment's episode, the memory of the
agent, the action chosen last and the key of the lane. A lane that forks keeps the steps of the lane
it left as its own past, so that every lane is a whole run from the start, and ``own`` tells which
of its steps were generated for it. Time is absolute: step t of every lane is step t of its episode.
"""

from __future__ import annotations

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from agents.ppo import chosen
from envs.core import Env, Episode, Level, advance, begin
from envs.wrappers import Sticky


class Agent(Protocol):
    """Who acts in one lane. Both methods are pure."""

    def begin(self, env: Env, level: Level) -> Any:
        """The memory before the first step."""
        ...

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: Any
    ) -> tuple[jax.Array, Any]:
        """Logits float32[A] in an episode whose last action was ``before`` int32[] (-1: none), and
        the memory after them. Whoever is no oracle looks at ``episode.timestep`` only."""
        ...


class Table(struct.PyTreeNode):
    """A Markov policy of one level; in lanes of L levels, stacked.

    Attributes:
        scores: float32[S, A], logits in every state.
    """

    scores: jax.Array

    def begin(self, env: Env, level: Level) -> None:
        """No memory."""

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: None
    ) -> tuple[jax.Array, None]:
        """What stands in the table."""
        return self.scores[env.encode(level, episode.state)], None


class Guard(Protocol):
    """Who stops a lane before its episode ends (icl/signals/stopping.py)."""

    def begin(self) -> Any:
        """The carry before the first step."""
        ...

    def look(self, carry: Any, logits: jax.Array, live: jax.Array, /) -> tuple[Any, jax.Array]:
        """The carry, and whether to stop bool[] after the step that float32[A] were said for."""
        ...


class Snapshot(struct.PyTreeNode):
    """All that a lane needs to go on. Equal snapshots go on equally, bit for bit in one program;
    in another one the agent's arithmetic may be rounded otherwise.

    Attributes:
        episode: the environment's.
        memory: the agent's.
        before: int32[], the action chosen last; -1 where there is none.
        key: of the lane; step t uses ``fold_in(key, t)``, so it is never consumed.
    """

    episode: Episode
    memory: Any
    before: jax.Array
    key: jax.Array


class Lanes(struct.PyTreeNode):
    """What N lanes in each of L levels did in T steps.

    Attributes:
        state: int32[L, N, T + 1], the number of the state before every step and after the last.
        executed: int32[L, N, T + 1], the action executed before it (sticky hands; A: none).
        action: int32[L, N, T], chosen.
        logits: float32[L, N, T, A], what the agent said.
        reward: float32[L, N, T].
        live: bool[L, N, T], the step took place, in this lane or in the one that it left.
        own: bool[L, N, T], and it was generated for this lane.
        owner: int32[L, N, T], the lane that the step was generated for.
        terminated: bool[L, N], the episode ended in a final state.
        stopped: bool[L, N], a guard stopped the lane.
        parent: int32[L, N], the lane that it forked from; itself where it began.
        fork: int32[L, N], the step that it forked before; 0 where it began.
    """

    state: jax.Array
    executed: jax.Array
    action: jax.Array
    logits: jax.Array
    reward: jax.Array
    live: jax.Array
    own: jax.Array
    owner: jax.Array
    terminated: jax.Array
    stopped: jax.Array
    parent: jax.Array
    fork: jax.Array

    @property
    def returns(self) -> jax.Array:
        """float32[L, N], undiscounted."""
        return self.reward.sum(-1)

    @property
    def generated(self) -> jax.Array:
        """int32[L], actions that were generated: steps that a fork shares are counted once."""
        return self.own.sum((1, 2))

    @property
    def log(self) -> jax.Array:
        """float32[L, N, T], the log-probability of the action chosen."""
        return chosen(self.logits, self.action)


def unchanged(lanes: Lanes) -> jax.Array:
    """bool[..., N, T]: the live steps that changed nothing and earned nothing."""
    same = lanes.state[..., 1:] == lanes.state[..., :-1]
    return lanes.live & same & (lanes.reward == 0)


def start(agent: Agent, env: Env, key: jax.Array, levels: Level, lanes: int) -> Snapshot:
    """Snapshot[L, N]: lanes before their first step, one key each; the key is consumed.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        key: consumed.
        levels: stacked on L.
        lanes: N.
    """
    count = jax.tree.leaves(levels)[0].shape[0]
    begin_key, lane_key = jax.random.split(key)

    def lane(agent: Agent, level: Level, begin_key: jax.Array, key: jax.Array) -> Snapshot:
        memory = agent.begin(env, level)
        return Snapshot(begin(env, begin_key, level), memory, jnp.int32(-1), key)

    keys = [jax.random.split(k, (count, lanes)) for k in (begin_key, lane_key)]
    return _each(lane)(agent, levels, *keys)


def go(
    agent: Agent,
    env: Env,
    levels: Level,
    begun: Snapshot,
    at: jax.Array | None = None,
    *,
    guard: Guard | None = None,
) -> tuple[Lanes, Snapshot]:
    """Plays every lane from its snapshot to its end.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        levels: stacked on L.
        begun: Snapshot[L, N]; a lane whose episode is over does nothing.
        at: int32[L, N], the step that each snapshot was taken before; None: all at 0.
        guard: who may stop lanes, of each level, stacked on L; none does by default.

    Returns:
        Lanes[L, N] without a past: steps before ``at`` are not live. And Snapshot[L, N, T], before
        every step; XLA drops it where it is not used. Else it is the largest thing here.
    """
    fork = jnp.zeros(begun.before.shape, jnp.int32) if at is None else at
    number = _each(lambda agent, level, episode: _numbered(env, level, episode))
    play = _played(agent, env, levels)
    look = jax.vmap(lambda guard, *rest: jax.vmap(guard.look)(*rest))
    empty: Any = None
    if guard is not None:
        empty = jax.tree.map(
            lambda x: jnp.broadcast_to(x[:, None], (*fork.shape, *x.shape[1:])),
            jax.vmap(lambda guard: guard.begin())(guard),
        )

    def step(carry: Any, time: jax.Array) -> tuple[Any, Any]:
        lane, seen, stopped = carry
        live = (time >= fork) & ~lane.episode.timestep.last & ~stopped
        after, logits = play(lane, time)
        reward = after.episode.timestep.reward
        told = (*number(agent, levels, lane.episode), after.before, logits, reward, live)
        after = _where(live, after, lane)
        if guard is not None:
            seen, stop = look(guard, seen, logits, live)
            stopped = stopped | (stop & live)
        return (after, seen, stopped), (*told, lane)

    none = jnp.zeros(fork.shape, bool)
    end, told = jax.lax.scan(step, (begun, empty, none), jnp.arange(env.horizon))
    last, _, stopped = end
    *told, snapshots = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 2), told)
    state, executed, action, logits, reward, live = told
    final = number(agent, levels, last.episode)
    own = jnp.arange(fork.shape[1], dtype=jnp.int32)
    lanes = Lanes(
        state=jnp.concatenate([state, final[0][..., None]], axis=-1),
        executed=jnp.concatenate([executed, final[1][..., None]], axis=-1),
        action=action,
        logits=logits,
        reward=jnp.where(live, reward, 0.0),
        live=live,
        own=live,
        owner=jnp.broadcast_to(own[:, None], live.shape),
        terminated=last.episode.timestep.terminated,
        stopped=stopped,
        parent=jnp.broadcast_to(own, fork.shape),
        fork=fork,
    )
    return lanes, snapshots


def earn(
    agent: Agent, env: Env, levels: Level, begun: Snapshot, at: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What the lanes of ``go`` come to, where nothing else is asked of them: no step is kept, none
    is computed before the first lane begins or after the last one is over.

    Args:
        agent: of each level, stacked on L.
        env: the family, wrappers included.
        levels: stacked on L.
        begun: Snapshot[L, N].
        at: int32[L, N], the step that each was taken before; T or more: it is left out.

    Returns:
        float32[L, N], what each earns from there on; int32[L], the actions generated.
    """
    play = _played(agent, env, levels)

    def lives(lane: Snapshot) -> jax.Array:
        return ~lane.episode.timestep.last & (at < env.horizon)

    def goes_on(carry: Any) -> jax.Array:
        time, lane, *_ = carry
        return (time < env.horizon) & lives(lane).any()

    def step(carry: Any) -> Any:
        time, lane, earned, generated = carry
        live = lives(lane) & (time >= at)
        after, _ = play(lane, time)
        earned = earned + jnp.where(live, after.episode.timestep.reward, 0.0)
        generated = generated + live.sum(1, dtype=jnp.int32)
        return time + 1, _where(live, after, lane), earned, generated

    earned, generated = jnp.zeros(at.shape), jnp.zeros(len(at), jnp.int32)
    return jax.lax.while_loop(goes_on, step, (at.min(), begun, earned, generated))[2:]


def at_step(snapshots: Snapshot, lane: jax.Array, time: jax.Array, key: jax.Array) -> Snapshot:
    """Snapshot[L, n]: those of lanes int32[L, n] before steps int32[L, n], with keys of their own
    split from ``key``, which is consumed: what happened after is drawn anew."""
    count = lane.shape

    def pick(x: jax.Array) -> jax.Array:
        return jax.vmap(lambda x, i, t: x[i, t])(x, lane, time)

    return jax.tree.map(pick, snapshots).replace(key=jax.random.split(key, count))


def with_past(forked: Lanes, past: Lanes, parent: jax.Array, first: int) -> Lanes:
    """Lanes[L, n] that forked before step ``forked.fork`` from lanes ``parent`` int32[L, n] of
    ``past``, with the steps that they share; they are numbered from ``first`` on."""
    time = jnp.arange(forked.action.shape[-1] + 1)
    shared = time < forked.fork[..., None]  # [L, n, T + 1]

    def merge(new: jax.Array, old: jax.Array) -> jax.Array:
        old = jax.vmap(lambda x, i: x[i])(old, parent)
        mask = shared[..., : new.shape[2]]
        return jnp.where(mask.reshape(*mask.shape, *(1,) * (new.ndim - 3)), old, new)

    names = ("state", "executed", "action", "logits", "reward", "live")
    mixed = {name: merge(getattr(forked, name), getattr(past, name)) for name in names}
    return forked.replace(**mixed, owner=merge(forked.owner + first, past.owner), parent=parent)


def joined(*parts: Lanes) -> Lanes:
    """All lanes of the same levels, side by side: those that began first, then those of
    ``with_past``, in the order of their numbers."""
    return jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)


def _played(agent: Agent, env: Env, levels: Level) -> Any:
    """(Snapshot[L, N] before a step, its number int32[]) -> Snapshot[L, N] after it, and the logits
    float32[L, N, A] that its actions were drawn from; of lanes that are over it means nothing."""
    speak = _each(
        lambda agent, level, lane: agent.logits(env, level, lane.episode, lane.before, lane.memory)
    )
    move = _each(
        lambda agent, level, key, episode, action: advance(env, key, level, episode, action)
    )
    fold = jax.vmap(jax.vmap(jax.random.fold_in, in_axes=(0, None)), in_axes=(0, None))
    pair = jax.vmap(jax.vmap(lambda key: tuple(jax.random.split(key))))

    def play(lane: Snapshot, time: jax.Array) -> tuple[Snapshot, jax.Array]:
        logits, memory = speak(agent, levels, lane)
        act_key, step_key = pair(fold(lane.key, time))
        action = jax.vmap(jax.vmap(jax.random.categorical))(act_key, logits).astype(jnp.int32)
        episode = move(agent, levels, step_key, lane.episode, action)
        return Snapshot(episode, memory, action, lane.key), logits

    return play


def _numbered(env: Env, level: Level, episode: Episode) -> tuple[jax.Array, jax.Array]:
    """int32[], int32[]: the number of the state, and the action executed last (A: none)."""
    state = episode.state
    executed = state.previous if isinstance(env, Sticky) else jnp.int32(env.num_actions)
    return jnp.asarray(env.encode(level, state), jnp.int32), jnp.asarray(executed, jnp.int32)


def _each(function: Any) -> Any:
    """``function(agent, level, …)`` for lanes [L, N]: agents and levels are of a level [L]."""

    def level(agent: Agent, level: Level, *rest: Any) -> Any:
        return jax.vmap(lambda *rest: function(agent, level, *rest))(*rest)

    return jax.vmap(level)


def _where(mask: jax.Array, new: Any, old: Any) -> Any:
    """``new`` where bool[L, N] holds, ``old`` elsewhere."""

    def pick(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - mask.ndim)), x, y)

    return jax.tree.map(pick, new, old)
