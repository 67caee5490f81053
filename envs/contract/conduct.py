"""The conduct of a family: the same result however it is called, ranges, and exact dynamics.

Every check takes a Specimen and raises Fault, or Inapplicable where there is nothing to check.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from envs.contract.faults import Fault, Inapplicable, explain
from envs.contract.specimen import Specimen, at, call_each, differing, keys, named
from envs.core import Env

SAMPLES = 3  # keys of which plain calls are compared with compiled ones
LUCK = 1024  # random steps of a state and action that are counted
PLACES = 8  # states and actions of which they are counted


def agrees(specimen: Specimen) -> None:
    """A key gives a result: plain, compiled and vectorised calls are the same to the bit, fractions
    to rounding (compilers may fuse a product with a sum)."""
    for number, key in enumerate(keys(0)[:SAMPLES]):
        try:
            plain = call_each(specimen.env, key)
        except Exception as error:
            raise explain(error, "a call without jax.jit", specimen.family) from None
        for method, result in plain.items():
            if not differing(result, at(specimen.calls[method], number), rounding=True):
                continue
            compiled = specimen.run("a call", call_each, key)
            if differing(result, compiled[method], rounding=True):
                raise Fault(
                    f"{method} gives one result compiled and another plainly: it uses Python's or "
                    "numpy's random numbers, the time, or what it changes outside; take chance "
                    "from the key and nothing else"
                )
            raise Fault(
                f"{method} gives another result under jax.vmap than one at a time: a rule of its "
                "own for batches, or a callback, is wrong; leave it out, or mend it"
            )


def one_program(specimen: Specimen) -> None:
    """Nothing is compiled again: the states of reset and step are of one kind."""
    env, key = specimen.env, jax.random.key(0)
    level = env.level(key)
    state = env.reset(key, level)
    after = env.step(key, level, state, jnp.int32(0)).state
    for (path, first), (_, then) in zip(named(state), named(after), strict=True):
        one, two = jax.typeof(first), jax.typeof(then)
        if one != two or one.weak_type != two.weak_type:
            odd, name = ("reset", one) if one.weak_type else ("step", two)
            raise Fault(
                f"{odd} puts a Python number into the state's {path}, so that what is compiled "
                f"for one state is compiled again for the next: use jnp.{name.dtype}(...)"
            )


def episodes(specimen: Specimen) -> None:
    """Episodes end by the horizon, once, and stay as they are."""
    found = specimen.episodes
    step, horizon = found.timestep, specimen.env.horizon
    over = step.last[:, :-1]
    held = found.replace(timestep=step.replace(reward=None))
    for path, leaf in named(held):
        if not (leaf[:, :-1][over] == leaf[:, 1:][over]).all():
            raise Fault(f"advance moves {path} after the end: leave advance of envs.core as it is")
    if (step.reward[:, 1:][over] != 0).any():
        raise Fault("advance pays after the end: leave advance of envs.core as it is")
    if (step.terminated & step.truncated).any() or not step.last[:, horizon].all():
        raise Fault("advance does not end an episode once: leave advance of envs.core as it is")


def ranges(specimen: Specimen) -> None:
    """Symbols lie in [0, num_symbols), rewards in [-1, 1]."""
    env = specimen.env
    reward = specimen.episodes.timestep.reward
    if not np.isfinite(reward).all() or np.abs(reward).max() > 1:
        worst = reward.ravel()[np.argmax(np.abs(np.nan_to_num(reward, nan=np.inf)))]
        raise Fault(f"step pays {worst:g}: rewards are finite and lie in [-1, 1], so scale them")
    if env.observation_dtype != "int32":
        return
    shown = [specimen.episodes.timestep.observation]
    if env.num_states:
        shown.append(
            specimen.run(
                "observe",
                lambda env, level: jax.vmap(
                    lambda index: env.observe(level, env.decode(level, index))
                )(jnp.arange(env.num_states, dtype=jnp.int32)),
                at(specimen.levels, 0),
            )
        )
    for seen in map(np.asarray, shown):
        wrong = (seen < 0) | (seen >= env.num_symbols)
        if wrong.any():
            place = np.argwhere(wrong)[0]
            raise Fault(
                f"observe shows symbol {seen[tuple(place)]} in field {place[-1]}: symbols are "
                f"0 to {env.num_symbols - 1}; raise num_symbols, or mend observe"
            )


def one_start(specimen: Specimen) -> None:
    """The first state does not depend on the key."""
    _enumerable(specimen)

    def resets(env: Env, level: Any) -> Any:
        return jax.vmap(lambda key: env.reset(key, level))(jax.random.split(jax.random.key(3), 8))

    for path, leaf in named(specimen.run("reset", resets, at(specimen.levels, 0))):
        if not (np.asarray(leaf) == np.asarray(leaf)[:1]).all():
            raise Fault(
                f"reset draws the state's {path} from its key, but states are numbered (num_states "
                "> 0) and the oracle counts on one start: draw it in level and keep it there"
            )


def codes(specimen: Specimen) -> None:
    """encode and decode are inverse, and number every state that is met."""
    _enumerable(specimen)
    level = at(specimen.levels, 0)
    met = at(specimen.episodes.state, 0)
    final = specimen.episodes.timestep.terminated[0]

    def both_ways(env: Env, level: Any, met: Any):
        numbers = jnp.arange(env.num_states, dtype=jnp.int32)
        again = jax.vmap(lambda i: env.encode(level, env.decode(level, i)))(numbers)
        code = jax.vmap(lambda state: env.encode(level, state))(met)
        return again, code, jax.vmap(lambda i: env.decode(level, i))(code)

    again, code, back = specimen.run("encode(decode(...))", both_ways, level, met)
    count, again, code = specimen.env.num_states, np.asarray(again), np.asarray(code)
    wrong = np.flatnonzero(again != np.arange(count))
    if wrong.size:
        raise Fault(
            f"encode(decode({wrong[0]})) is {again[wrong[0]]}: decode has to be the inverse of "
            f"encode for all {count} numbers of num_states"
        )
    living = code[~final]
    if (living < 0).any() or (living >= count).any():
        worst = living[(living < 0) | (living >= count)][0]
        raise Fault(f"encode gives a state the number {worst}: num_states is {count}; raise it")
    for (path, one), (_, two) in zip(named(met), named(back), strict=True):
        if not (np.asarray(one)[~final] == np.asarray(two)[~final]).all():
            raise Fault(
                f"decode(encode(state)) loses the state's {path}: the number has to hold all of "
                "the state, so raise num_states, or take out what time or chance already says"
            )


def table(specimen: Specimen) -> None:
    """The table that the oracle solves lists what step does, as often as it does it."""
    _enumerable(specimen)
    env, level = specimen.env, at(specimen.levels, 0)
    random = type(env).outcomes is not Env.outcomes or type(env).tabulate is not Env.tabulate
    method = "outcomes" if type(env).tabulate is Env.tabulate else "tabulate"

    def step(env: Env, level: Any, key: jax.Array, index: jax.Array, action: jax.Array):
        outcome = env.step(key, level, env.decode(level, index), action)
        return env.encode(level, outcome.state), outcome.reward, outcome.terminated

    def everything(env: Env, level: Any, keys: jax.Array):
        states = jnp.arange(env.num_states, dtype=jnp.int32)
        actions = jnp.arange(env.num_actions, dtype=jnp.int32)
        over_actions = jax.vmap(step, (None, None, None, None, 0))
        over_states = jax.vmap(over_actions, (None, None, None, 0, None))
        over_keys = jax.vmap(over_states, (None, None, 0, None, None))
        return env.tabulate(level), over_keys(env, level, keys, states, actions)

    chances = jax.random.split(jax.random.key(4), 4)
    listed, after = jax.device_get(specimen.run(method, everything, level, chances))
    going = ~listed.terminated & (listed.probability > 0)
    off = going & ((listed.target < 0) | (listed.target >= env.num_states))
    if off.any():
        raise Fault(
            f"{method} leads to state {listed.target[off][0]}: num_states is {env.num_states}"
        )
    total = listed.probability.sum(-1)
    if np.abs(total - 1).max() > 1e-4:
        state, action = np.argwhere(np.abs(total - 1) > 1e-4)[0]
        raise Fault(
            f"{method} gives the outcomes of state {state} and action {action} probabilities that "
            f"sum to {total[state, action]:.4g}: they have to sum to 1"
        )

    def matches(found: Any) -> np.ndarray:
        target, reward, terminated = (np.asarray(x)[..., None] for x in found)
        same = (listed.target == target) | (listed.terminated & terminated)
        return same & (listed.reward == reward) & (listed.terminated == terminated)

    missing = ~(matches(after) & (listed.probability > 0)).any(-1)
    if missing.any() and not random:
        raise Fault(
            "step uses its key, but outcomes is not defined: write `def outcomes(self, level, "
            "state, action)` that returns every (probability float32[K], Outcome with leading K)"
        )
    if missing.any():
        _, state, action = place = tuple(np.argwhere(missing)[0])
        target, reward, terminated = (x[place] for x in after)
        raise Fault(
            f"{method} does not list what step did in state {state} with action {action}: "
            f"state {target}, reward {reward:g}, terminated {bool(terminated)}; list it"
        )
    if listed.target.shape[-1] > 1:
        _frequencies(specimen, method, listed, level, step)


def _frequencies(specimen: Specimen, method: str, listed: Any, level: Any, step: Any) -> None:
    """Outcomes come as often as their probabilities say, to five standard deviations."""
    mixed = np.argwhere(((listed.probability > 0) & (listed.probability < 1)).any(-1))
    if not len(mixed):
        return
    chosen = mixed[np.linspace(0, len(mixed) - 1, min(PLACES, len(mixed))).astype(int)]

    def count(env: Env, level: Any, keys: jax.Array, places: jax.Array):
        over_keys = jax.vmap(step, (None, None, 0, None, None))
        return jax.vmap(over_keys, (None, None, None, 0, 0))(
            env, level, keys, places[:, 0], places[:, 1]
        )

    chances = jax.random.split(jax.random.key(5), LUCK)
    places = jnp.asarray(chosen, jnp.int32)
    after = jax.device_get(specimen.run("step", count, level, chances, places))
    for number, (state, action) in enumerate(chosen):
        rows = [getattr(listed, x)[state, action] for x in ("target", "reward", "terminated")]
        target = np.where(rows[2], -1, rows[0])
        done = np.where(after[2][number], -1, after[0][number])
        for k in range(len(target)):
            alike = (target == target[k]) & (rows[1] == rows[1][k])
            expected = float(listed.probability[state, action][alike].sum())
            share = ((done == target[k]) & (after[1][number] == rows[1][k])).mean()
            slack = 5 * np.sqrt(expected * (1 - expected) / LUCK) + 1e-3
            if abs(share - expected) > slack:
                raise Fault(
                    f"{method} gives an outcome of state {state} and action {action} the "
                    f"probability {expected:.3f}, but step did it in {share:.3f} of {LUCK:,} "
                    "tries: give both one distribution"
                )


def _enumerable(specimen: Specimen) -> None:
    if not specimen.env.num_states:
        raise Inapplicable("states are not numbered")
