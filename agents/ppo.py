"""Proximal policy optimisation: experts for families whose states cannot be enumerated.

Schulman et al. 2017 (PPO, arXiv 1707.06347), equations 7 and 9 and algorithm 1, on the advantages
of Schulman et al. 2015 (GAE, arXiv 1506.02438), equation 16. Training is one compiled program: a
scan over updates, in it a scan over the steps of many environments at once. Their levels lie in a
buffer; a reset only picks one. What comes out is an Expert (agents/expert.py).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from agents.expert import Expert, Network, outward, untrained
from envs.core import Env, Episode, Level, advance, begin, static


class PPOConfig(struct.PyTreeNode):
    """Sizes are static; numbers (from ``updates`` on) are traced: changing one never recompiles.

    Attributes:
        environments: N, played side by side; a multiple of ``minibatches``.
        steps: T, steps of each environment in one update.
        chunk: updates in one call of the compiled program; the host waits once for each.
        epochs: passes over the steps of an update.
        minibatches: parts of a pass, each with all the steps of some environments.
        width: of the hidden layers.
        layers: how many of them.
        updates: of the whole training, which takes N * T * updates steps; a multiple of ``chunk``.
        gamma: discount in [0, 1).
        gae_lambda: λ of the advantages in [0, 1].
        clip: ε, how far from 1 a probability ratio counts.
        critic: weight of the squared error of the value, c1 of equation 9.
        entropy: weight of the entropy, c2 of equation 9.
        learning_rate: of Adam at first; it falls linearly to 0.
        max_norm: largest global norm of the gradient.
    """

    environments: int = static(256)
    steps: int = static(16)
    chunk: int = static(50)
    epochs: int = static(4)
    minibatches: int = static(8)
    width: int = static(128)
    layers: int = static(2)
    updates: int = 400
    gamma: float | jax.Array = 0.95
    gae_lambda: float | jax.Array = 0.95
    clip: float | jax.Array = 0.2
    critic: float | jax.Array = 0.5
    entropy: float | jax.Array = 0.01
    learning_rate: float | jax.Array = 1e-3
    max_norm: float | jax.Array = 0.5

    def check(self) -> None:
        """Raises ValueError where sizes are too small or contradict each other."""
        sizes = ("environments", "steps", "updates", "chunk", "epochs", "minibatches", "width")
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)} of PPO: use 1 or more")
        for whole, part in (("environments", "minibatches"), ("updates", "chunk")):
            one, other = getattr(self, whole), getattr(self, part)
            if one % other:
                raise ValueError(
                    f"{whole} {one} and {part} {other} of PPO: {whole} must be a multiple of "
                    f"{part}; try {part} {np.gcd(one, other)}"
                )

    def optimiser(self) -> optax.GradientTransformation:
        """Clipping and Adam; ``update`` applies the learning rate."""
        return optax.chain(
            optax.clip_by_global_norm(self.max_norm),  # type: ignore[arg-type]
            optax.scale_by_adam(eps=1e-5),
        )


class Players(struct.PyTreeNode):
    """N running episodes.

    Attributes:
        episode: Episode[N].
        index: int32[N], which level of the buffer each is in.
        earned: float32[N], the reward of each so far.
    """

    episode: Episode
    index: jax.Array
    earned: jax.Array


class Steps(NamedTuple):
    """What N players did in T steps, [T, N] each.

    Attributes:
        revealed: float32[T, N, n], before acting.
        action: int32, the bare family's.
        log: float32, the log-probability of the action.
        value: float32, before acting.
        after: float32, the value of the successor, before any reset.
        reward: float32.
        terminated: bool; the successor is worth nothing more.
        last: bool; the episode ended here, terminated or truncated.
        earned: float32, the return of the episode that ended here; 0 where none did.
    """

    revealed: jax.Array
    action: jax.Array
    log: jax.Array
    value: jax.Array
    after: jax.Array
    reward: jax.Array
    terminated: jax.Array
    last: jax.Array
    earned: jax.Array


class Sample(NamedTuple):
    """What the loss is taken over, with the same leading axes throughout.

    Attributes:
        seen: float32[..., n], what was revealed, standardised.
        action: int32[...].
        log: float32[...], its log-probability when it was chosen.
        advantage: float32[...].
        target: float32[...], of the value.
    """

    seen: jax.Array
    action: jax.Array
    log: jax.Array
    advantage: jax.Array
    target: jax.Array


class Metrics(struct.PyTreeNode):
    """Of one update, float32[] each.

    Attributes:
        episodes: how many ended.
        returns: their mean undiscounted return; NaN where none ended.
        policy: the clipped objective, equation 7, to be raised.
        error: mean squared error of the value.
        entropy: mean of the policy, in nats.
        clipped: share of the ratios that left [1 − ε, 1 + ε].
    """

    episodes: jax.Array
    returns: jax.Array
    policy: jax.Array
    error: jax.Array
    entropy: jax.Array
    clipped: jax.Array


class Learner(struct.PyTreeNode):
    """All that an update changes.

    Attributes:
        expert: as trained so far.
        moments: the optimiser's state.
        players: where its environments are.
        step: int32[], updates done.
        key: of the training; update n uses ``fold_in(key, n)``, so it is never consumed.
    """

    expert: Expert
    moments: optax.OptState
    players: Players
    step: jax.Array
    key: jax.Array


def chosen(logits: jax.Array, action: jax.Array) -> jax.Array:
    """float32[...]: the log-probability of action int32[...] under logits float32[..., A]."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], axis=-1)[..., 0]


def advantages(steps: Steps, config: PPOConfig) -> jax.Array:
    """float32[T, N]: GAE, equation 16. A terminated episode has no future; a truncated one goes on
    in the value of its last successor (Pardo et al. 2018, arXiv 1712.00378), and none reaches over
    its end into the next."""
    future = jnp.where(steps.terminated, 0.0, steps.after)
    surprise = steps.reward + config.gamma * future - steps.value

    def back(later: jax.Array, now: tuple[jax.Array, jax.Array]):
        surprise, last = now
        advantage = surprise + config.gamma * config.gae_lambda * jnp.where(last, 0.0, later)
        return advantage, advantage

    nothing = jnp.zeros_like(surprise[0])
    return jax.lax.scan(back, nothing, (surprise, steps.last), reverse=True)[1]


def loss(
    logits: jax.Array, value: jax.Array, sample: Sample, config: PPOConfig
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """float32[]: equation 9, negated, for logits float32[..., A] and value float32[...]; and
    its parts in the order of Metrics: equation 7, squared error, entropy, share clipped."""
    ratio = jnp.exp(chosen(logits, sample.action) - sample.log)
    near = jnp.clip(ratio, 1 - config.clip, 1 + config.clip)
    policy = jnp.minimum(ratio * sample.advantage, near * sample.advantage).mean()
    error = jnp.square(value - sample.target).mean()
    log = jax.nn.log_softmax(logits)
    entropy = -(jnp.exp(log) * log).sum(-1).mean()
    total = config.critic * error - policy - config.entropy * entropy
    return total, (policy, error, entropy, (ratio != near).mean())


def fresh(env: Env, key: jax.Array, levels: Level, count: int) -> Players:
    """``count`` players at the beginning, in levels drawn uniformly from the buffer; the key is
    consumed."""
    level_key, reset_key = jax.random.split(key)
    size = jax.tree.leaves(levels)[0].shape[0]
    index = jax.random.randint(level_key, (count,), 0, size)
    picked = jax.tree.map(lambda x: x[index], levels)
    keys = jax.random.split(reset_key, count)
    episode = jax.vmap(functools.partial(begin, env))(keys, picked)
    return Players(episode, index, jnp.zeros(count))


def play(
    env: Env, key: jax.Array, levels: Level, expert: Expert, players: Players, steps: int
) -> tuple[Players, Steps]:
    """``steps`` steps of every player, who goes on in another level where an episode ends; the key
    is consumed."""
    count = players.index.size
    reveal = jax.vmap(env.reveal)

    def step(players: Players, key: jax.Array) -> tuple[Players, Steps]:
        act_key, step_key, fresh_key = jax.random.split(key, 3)
        level = jax.tree.map(lambda x: x[players.index], levels)
        state = players.episode.state
        revealed = reveal(level, state)
        logits, value = expert.judge(revealed)
        action = jax.random.categorical(act_key, logits).astype(jnp.int32)
        meant = jax.vmap(functools.partial(outward, env))(level, state, action)
        moved = jax.vmap(functools.partial(advance, env))(
            jax.random.split(step_key, count), level, players.episode, meant
        )
        now = moved.timestep
        earned = players.earned + now.reward
        done = Steps(
            revealed=revealed,
            action=action,
            log=chosen(logits, action),
            value=value,
            after=expert.judge(reveal(level, moved.state))[1],
            reward=now.reward,
            terminated=now.terminated,
            last=now.last,
            earned=jnp.where(now.last, earned, 0.0),
        )
        begun = fresh(env, fresh_key, levels, count)
        pick = jax.vmap(lambda last, a, b: jax.tree.map(lambda x, y: jnp.where(last, x, y), a, b))
        return pick(now.last, begun, Players(moved, players.index, earned)), done

    return jax.lax.scan(step, players, jax.random.split(key, steps))


def update(env: Env, levels: Level, config: PPOConfig, learner: Learner) -> tuple[Learner, Metrics]:
    """One pure update: play, then several passes over what was played."""
    play_key, learn_key = jax.random.split(jax.random.fold_in(learner.key, learner.step))
    expert = learner.expert
    players, steps = play(env, play_key, levels, expert, learner.players, config.steps)
    advantage = advantages(steps, config)
    seen = expert.scale(steps.revealed)
    whole = Sample(seen, steps.action, steps.log, advantage, advantage + steps.value)
    whole = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), whole)
    rate = config.learning_rate * (1 - learner.step / config.updates)

    def descend(carry: Any, part: Sample):
        lead = part.advantage - part.advantage.mean()
        part = part._replace(advantage=lead / (part.advantage.std() + 1e-8))

        def objective(network: Network) -> Any:
            return loss(*network(part.seen), part, config)

        gradient, parts = jax.grad(objective, has_aux=True)(carry[0])
        direction, moments = config.optimiser().update(gradient, carry[1])
        network = jax.tree.map(lambda old, step: old - rate * step, carry[0], direction)
        return (network, moments), parts

    def epoch(carry: Any, key: jax.Array):
        order = jax.random.permutation(key, config.environments)
        cut = (config.minibatches, -1)
        parts = jax.tree.map(lambda x: x[order].reshape(*cut, *x.shape[1:]), whole)
        return jax.lax.scan(descend, carry, parts)

    (network, moments), parts = jax.lax.scan(
        epoch, (expert.network, learner.moments), jax.random.split(learn_key, config.epochs)
    )
    ended = steps.last.sum().astype(jnp.float32)
    metrics = Metrics(ended, steps.earned.sum() / ended, *jax.tree.map(jnp.mean, parts))
    rows = steps.revealed.reshape(-1, steps.revealed.shape[-1])
    expert = expert.replace(network=network, scale=expert.scale.extend(rows))
    return Learner(expert, moments, players, learner.step + 1, learner.key), metrics


@jax.jit
def learn(env: Env, levels: Level, config: PPOConfig, learner: Learner) -> tuple[Learner, Metrics]:
    """``config.chunk`` updates in one scan; Metrics[chunk]."""

    def one(learner: Learner, _):
        return update(env, levels, config, learner)

    return jax.lax.scan(one, learner, length=config.chunk)


@jax.jit
def start(env: Env, key: jax.Array, levels: Level, config: PPOConfig) -> Learner:
    """A Learner before its first update; the key is consumed."""
    expert_key, fresh_key, run_key = jax.random.split(key, 3)
    first = jax.tree.map(lambda x: x[0], levels)
    expert = untrained(expert_key, env, first, width=config.width, layers=config.layers)
    players = fresh(env, fresh_key, levels, config.environments)
    moments = config.optimiser().init(expert.network)  # type: ignore[arg-type]
    return Learner(expert, moments, players, jnp.int32(0), run_key)


def train(
    env: Env,
    key: jax.Array,
    levels: Level,
    config: PPOConfig,
    report: Callable[[Metrics], None] | None = None,
) -> tuple[Expert, Metrics]:
    """Trains an expert for the levels of a family.

    Args:
        env: the family, wrapped or not; the expert learns under the wrapped dynamics.
        key: consumed.
        levels: the buffer, stacked on a leading axis. Unseen levels ask for many different ones.
        config: sizes and numbers.
        report: called with the Metrics[chunk] of each chunk, one chunk late, so that nothing waits.

    Returns:
        The expert, who draws actions at temperature 1, and Metrics[updates] on the host.

    Raises:
        ValueError: sizes that contradict each other.
        FloatingPointError: the training left the finite numbers.
    """
    config.check()
    learner = start(env, key, levels, config)
    done: list[Metrics] = []

    def read(metrics: Metrics) -> None:
        done.append(jax.device_get(metrics))
        if not np.isfinite(done[-1].error).all():
            raise FloatingPointError(
                f"PPO diverged within {len(done) * config.chunk} updates; "
                f"lower learning_rate ({float(config.learning_rate):g})"
            )
        if report is not None:
            report(done[-1])

    waiting: Metrics | None = None
    for _ in range(config.updates // config.chunk):
        learner, metrics = learn(env, levels, config, learner)
        if waiting is not None:
            read(waiting)
        waiting = metrics
    read(metrics)
    return learner.expert, jax.tree.map(lambda *x: np.concatenate(x), *done)
