"""Breakdowns: a policy that knows the way and loses its head for a while.

What local confidence is good for is a claim about how trajectories fail (DeepConf, Fu et al. 2025,
arXiv 2508.15260). Here that is injected: a lane's ``Fate`` says when it breaks down, and everything
that happened can be looked up. A broken lane plays with nearly flat logits for some steps, so it
wanders, or answers at random; afterwards it may take one clue for another and be sure of it. The
sharpness of all lanes varies from step to step and from lane to lane for no reason, too.

The policy is a table of optimal actions, so any family whose states can be enumerated will do;
where answers end the episode, as in ``commit``, they are the actions from ``MOVES`` on.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from types import MappingProxyType

import jax
import jax.numpy as jnp
from flax import struct

from envs.core import Env, Episode, Level
from envs.oracle import solve
from icl.signals.distances import distances
from icl.signals.lanes import Lanes, Snapshot

MOVES = 4  # of commit: actions from here on are answers
NEVER = 2**30  # a step that no episode has


class Regime(struct.PyTreeNode):
    """The numbers of a policy; scalars, all traced, so that one program runs every regime.

    Attributes:
        sharpness: what is added to the logits of optimal actions.
        slump: the same during a breakdown.
        length: b, the steps that a breakdown takes.
        earliest: share of the best episode, below 1, before which none begins.
        rarest: share of the lanes that break down in the level where fewest do.
        commonest: where most do; the levels' shares are uniform in between.
        muddled: probability that a lane that broke down misreads the clue ever after.
        step_noise: standard deviation of the log of the sharpness, from step to step.
        lane_noise: the same, from lane to lane.
        misled: share of the levels in which the most confident lanes are wrong.
        deluded: share of the lanes that are so, in those levels: they misread the clue from the
            start and do not break down.
        boost: what is added to their sharpness.
    """

    sharpness: float | jax.Array = 10.0
    slump: float | jax.Array = 3.0
    length: int | jax.Array = 7
    earliest: float | jax.Array = 0.0
    rarest: float | jax.Array = 0.1
    commonest: float | jax.Array = 0.9
    muddled: float | jax.Array = 0.8
    step_noise: float | jax.Array = 0.2
    lane_noise: float | jax.Array = 0.1
    misled: float | jax.Array = 0.0
    deluded: float | jax.Array = 0.35
    boost: float | jax.Array = 3.0


REGIMES: Mapping[str, Regime] = MappingProxyType(
    {
        "falters": Regime(),  # a broken lane often answers at random, or is muddled
        "recovers": Regime(muddled=0.0),  # it only fails by what it does while it is broken
        "forgets": Regime(slump=5.0),  # it mostly fails by what it believes afterwards
        "late": Regime(slump=5.0, earliest=0.75),  # the same, shortly before the answer
        "collapses": Regime(muddled=0.0, length=1000),  # it is broken until it answers
        "confidently-wrong": Regime(rarest=0.0, commonest=0.3, misled=0.3),
    }
)


SHARES = ("rarest", "commonest", "muddled", "misled", "deluded")


def regime_of(name: str) -> Regime:
    """A regime with its numbers as arrays: ``NAME``, or ``NAME@field=number,…`` for some of them in
    place of its own, as in ``late@earliest=0.5``.

    Raises:
        ValueError: there is no such regime or field, or its number makes no sense.
    """
    bare, _, fields = name.partition("@")
    if bare not in REGIMES:
        raise ValueError(f"unknown regime {bare!r}; known: {', '.join(REGIMES)}")
    known = [field.name for field in dataclasses.fields(Regime)]
    changes = {}
    for word in filter(None, fields.split(",")):
        field, _, value = word.partition("=")
        try:
            changes[field] = float(value)
        except ValueError:
            changes[field] = math.nan
        if field not in known or not math.isfinite(changes[field]):
            raise ValueError(f"regime field {word!r}: use name=number of {', '.join(known)}")
        most = 1.0 if field in SHARES else 0.99 if field == "earliest" else math.inf
        least = 1.0 if field == "length" else -math.inf if field in ("slump", "boost") else 0.0
        if not least <= changes[field] <= most:
            raise ValueError(f"regime field {word!r}: use a number from {least:g} to {most:g}")
    return jax.tree.map(jnp.asarray, REGIMES[bare].replace(**changes))


class Fate(struct.PyTreeNode):
    """The memory of a lane: all that is going to happen to it. It does not change.

    Attributes:
        key: of the noise; step t uses ``fold_in(key, t)``.
        onset: int32[], the step at which it breaks down; NEVER.
        misreads: int32[], the step from which on it takes the clue for another one; NEVER.
        lift: float32[], what is added to its sharpness outside of the breakdown.
        tone: float32[], what its sharpness is multiplied by.
    """

    key: jax.Array
    onset: jax.Array
    misreads: jax.Array
    lift: jax.Array
    tone: jax.Array


class Faltering(struct.PyTreeNode):
    """The policy; an Agent (icl/signals/lanes.py). It is an oracle: it looks at the state.

    Attributes:
        right: bool[S, A], the optimal actions.
        wrong: bool[S, A], the same for one who takes the clue for that of the next answer.
        distance: int32[], steps of a best episode.
        rate: float32[], share of the lanes that break down.
        misled: bool[], the most confident lanes of this level are wrong.
        regime: the numbers.
    """

    right: jax.Array
    wrong: jax.Array
    distance: jax.Array
    rate: jax.Array
    misled: jax.Array
    regime: Regime

    def begin(self, env: Env, level: Level) -> Fate:
        """Nothing is going to happen; ``fated`` draws who breaks down."""
        never = jnp.int32(NEVER)
        return Fate(jax.random.key(0), never, never, jnp.float32(0), jnp.float32(1))

    def logits(
        self, env: Env, level: Level, episode: Episode, before: jax.Array, memory: Fate
    ) -> tuple[jax.Array, Fate]:
        """The sharpness of the step at the actions that the lane takes for optimal, else 0."""
        regime, time = self.regime, episode.time
        broken = (time >= memory.onset) & (time < memory.onset + regime.length)
        sharp = jnp.where(broken, regime.slump, regime.sharpness + memory.lift)
        noise = jax.random.normal(jax.random.fold_in(memory.key, time))
        sharp = sharp * memory.tone * jnp.exp(regime.step_noise * noise)
        state = env.encode(level, episode.state)
        best = jnp.where(time >= memory.misreads, self.wrong[state], self.right[state])
        return sharp * best, memory


def faltering(env: Env, key: jax.Array, levels: Level, regime: Regime) -> Faltering:
    """Faltering[L] of levels stacked on L; the key is consumed."""
    right = jax.vmap(lambda level: solve(env.tabulate(level)).optimal)(levels)
    count = right.shape[0]
    rate_key, misled_key = jax.random.split(key)
    rates = jax.random.uniform(rate_key, (count,))
    # The next answer's clue: where an answer is best, it is the next one that is given.
    wrong = jnp.concatenate([right[..., :MOVES], jnp.roll(right[..., MOVES:], 1, -1)], axis=-1)
    return Faltering(
        right=right,
        wrong=wrong,
        distance=distances(env, levels),
        rate=regime.rarest + (regime.commonest - regime.rarest) * rates,
        misled=jax.random.bernoulli(misled_key, regime.misled, (count,)),
        regime=jax.tree.map(lambda x: jnp.broadcast_to(jnp.asarray(x), (count,)), regime),
    )


def fated(agent: Faltering, key: jax.Array, begun: Snapshot) -> Snapshot:
    """Snapshot[L, N] before the first step with fates drawn for its lanes; the key is consumed.
    A breakdown begins at a uniform step of the best episode, from its ``earliest`` on."""

    def lane(agent: Faltering, key: jax.Array) -> Fate:
        regime = agent.regime
        noise_key, break_key, onset_key, muddle_key, delude_key, tone_key = jax.random.split(key, 6)
        deluded = agent.misled & jax.random.bernoulli(delude_key, regime.deluded)
        breaks = jax.random.bernoulli(break_key, agent.rate) & ~deluded
        muddled = jax.random.bernoulli(muddle_key, regime.muddled) & breaks
        distance = jnp.maximum(agent.distance, 1)
        first = jnp.floor(regime.earliest * distance).astype(jnp.int32)
        onset = jax.random.randint(onset_key, (), first, distance)
        return Fate(
            key=noise_key,
            onset=jnp.where(breaks, onset, NEVER),
            misreads=jnp.where(deluded, 0, jnp.where(muddled, onset, NEVER)),
            lift=jnp.where(deluded, regime.boost, 0.0),
            tone=jnp.exp(regime.lane_noise * jax.random.normal(tone_key)),
        )

    lanes = jax.vmap(lane, in_axes=(None, 0))
    return begun.replace(memory=jax.vmap(lanes)(agent, jax.random.split(key, begun.before.shape)))


def broken(agent: Faltering, fates: Fate, lanes: Lanes) -> jax.Array:
    """bool[L, N, T]: the live steps of breakdowns, of Fate[L, N] and Lanes[L, N, T]."""
    time, onset = jnp.arange(lanes.live.shape[-1]), fates.onset[..., None]
    length = agent.regime.length[:, None, None]  # type: ignore[index]
    return lanes.live & (time >= onset) & (time < onset + length)


def spread(agent: Faltering, fates: Fate, lanes: Lanes) -> Fate:
    """Fate[L, N] of twins whose trouble is no stretch: a lane that broke down lacks the same
    sharpness in sum, but an equal share of it at each step of the best episode; and it misreads
    the clue if its twin in Lanes[L, N, T] failed, so that failures are equally likely lane by lane.
    All noise is the twin's."""
    gone = broken(agent, fates, lanes).sum(-1)
    regime = agent.regime
    missing = (regime.sharpness - regime.slump) / jnp.maximum(agent.distance, 1)
    broke, failed = gone > 0, lanes.returns <= 0
    return fates.replace(
        onset=jnp.full_like(fates.onset, NEVER),
        misreads=jnp.where(broke, jnp.where(failed, 0, NEVER), fates.misreads),
        lift=jnp.where(broke, fates.lift - missing[:, None] * gone, fates.lift),
    )
