"""Contracts 7, 10 and 11 over every registered family, bare and behind the wrappers."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.core import Env
from tests.envs.walks import COUNT, World, optima, walk, walked
from tests.envs.worlds import LEVELS, behind, raw_levels, same

SAMPLES = 4  # transitions compared between jit, eager, vmap and loop
ENDLESS = ("Bandit",)  # families whose episodes end at the horizon only
SHORTER = {"commit": {"horizon": 5}}  # hardly an episode of its play lasts the usual 16 steps

RESET = jax.jit(lambda env, key, level: env.reset(key, level))
STEP = jax.jit(lambda env, key, level, state, action: env.step(key, level, state, action))
OBSERVE = jax.jit(lambda env, level, state: env.observe(level, state))
TABULATE = jax.jit(lambda env, level: env.tabulate(level))
FINGERPRINT = jax.jit(lambda env, level: env.fingerprint(level))


@pytest.fixture(
    scope="module",
    params=[f"{name} {kind}" for name in envs.names() for kind in ("bare", "wrapped")],
)
def world(request) -> World:
    name, kind = request.param.split()
    env = envs.make(name, **SHORTER.get(name, {}))
    return walked(env if kind == "bare" else behind(env))


def at(tree: Any, *index: int) -> Any:
    return jax.tree.map(lambda x: jnp.asarray(x[index]), tree)


def stacked(trees: list[Any]) -> Any:
    return jax.tree.map(lambda *x: jnp.stack(x), *trees)


def ends(world: World) -> bool:
    """Some state is final."""
    return type(world.env.bare).__name__ not in ENDLESS


def numbers(env: Env) -> jax.Array:
    if not env.num_states:
        pytest.skip("its states cannot be enumerated")
    return jnp.arange(env.num_states, dtype=jnp.int32)


def transitions(world: World) -> list[tuple]:
    """Keys, levels, states and actions from early in some episodes."""
    return [
        (
            jax.random.key(i),
            at(world.levels, i),
            at(world.episodes.state, i, 0, 2 + i),
            jnp.asarray(world.actions[i, 0, 2 + i]),
        )
        for i in range(SAMPLES)
    ]


def test_a_key_gives_a_result(world):
    again = jax.device_get(walk(world.env, jax.random.key(1), world.levels, world.optimal))
    assert same(again, (world.actions, world.episodes))
    assert same(raw_levels(world.env, 0, COUNT), world.levels)
    other = raw_levels(world.env, 1, COUNT)
    prints = [FINGERPRINT(world.env, at(levels, 0)) for levels in (world.levels, other)]
    assert (prints[0] != prints[1]).any()


def test_jit_is_eager_and_vmap_is_a_loop(world):
    env, samples = world.env, transitions(world)
    steps, resets, sights = [], [], []
    for key, level, state, action in samples:
        steps.append(env.step(key, level, state, action))
        resets.append(env.reset(key, level))
        sights.append(env.observe(level, state))
        assert same(STEP(env, key, level, state, action), steps[-1])
        assert same(RESET(env, key, level), resets[-1])
        assert same(OBSERVE(env, level, state), sights[-1])
    keys, levels, states, actions = stacked(samples)
    assert same(jax.jit(jax.vmap(env.step))(keys, levels, states, actions), stacked(steps))
    assert same(jax.jit(jax.vmap(env.reset))(keys, levels), stacked(resets))
    assert same(jax.jit(jax.vmap(env.observe))(levels, states), stacked(sights))


@pytest.mark.parametrize("name", envs.names())
def test_level_jit_is_eager_and_vmap_is_a_loop(name):
    env = behind(envs.make(name))
    keys = jax.random.split(jax.random.key(0), COUNT)
    levels = LEVELS(env, keys)
    for i in range(2):
        assert same(env.level(keys[i]), at(levels, i))


def test_the_level_comes_first(world):
    arguments = {
        method: list(inspect.signature(getattr(world.env, method)).parameters)
        for method in ("level", "reset", "step", "observe")
    }
    assert arguments == {
        "level": ["key"],
        "reset": ["key", "level"],
        "step": ["key", "level", "state", "action"],
        "observe": ["level", "state"],
    }


def test_there_is_no_key_in_the_state(world):
    for leaf in jax.tree.leaves((world.episodes.state, world.levels)):
        assert not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        assert leaf.dtype != np.uint32  # the old kind of key
    numbers(world.env)
    level = at(world.levels, 0)
    resets = [RESET(world.env, jax.random.key(seed), level) for seed in range(3)]
    assert same(resets[0], resets[1]) and same(resets[0], resets[2])


def test_spaces_hold(world):
    seen = world.episodes.timestep.observation
    assert seen.dtype == np.int32
    assert seen.shape[3:] == (world.env.num_fields,)
    assert seen.min() >= 0 and seen.max() < world.env.num_symbols
    assert world.actions.dtype == np.int32
    assert set(np.unique(world.actions)) == set(range(world.env.num_actions))
    states = numbers(world.env)

    def all_states(level):
        every = jax.vmap(lambda i: world.env.decode(level, i))(states)
        return jax.vmap(lambda s: world.env.observe(level, s))(every)

    shown = np.asarray(jax.jit(jax.vmap(all_states))(world.levels))
    assert shown.min() >= 0 and shown.max() < world.env.num_symbols


def test_finished_episodes_freeze(world):
    over = world.episodes.timestep.last[..., :-1]
    assert over.any() and not over.all()
    held = world.episodes.replace(timestep=world.episodes.timestep.replace(reward=None))
    for leaf in jax.tree.leaves(held):
        assert (leaf[:, :, :-1][over] == leaf[:, :, 1:][over]).all()
    assert (world.episodes.timestep.reward[..., 1:][over] == 0).all()


def test_terminated_and_truncated_are_two_things(world):
    step, time = world.episodes.timestep, world.episodes.time
    assert step.terminated.any() == ends(world) and step.truncated.any()
    assert not (step.terminated & step.truncated).any()
    assert not step.last[..., 0].any()
    assert (time[step.truncated] == world.env.horizon).all()
    assert step.last[time == world.env.horizon].all()
    assert time.max() == world.env.horizon
    assert (np.diff(time, axis=-1) == ~step.last[..., :-1]).all()


def test_rewards_are_finite_and_bounded(world):
    reward = world.episodes.timestep.reward
    assert reward.dtype == np.float32
    assert np.isfinite(reward).all() and np.abs(reward).max() <= 1
    assert (reward.sum(-1) > 0).any()
    assert (reward[..., 0] == 0).all()


def test_encode_and_decode_are_inverse(world):
    env, states = world.env, numbers(world.env)

    @jax.jit
    def there_and_back(level, visited):
        every = jax.vmap(lambda i: env.encode(level, env.decode(level, i)))(states)
        codes = jax.vmap(lambda s: env.encode(level, s))(visited)
        back = jax.vmap(lambda i: env.decode(level, i))(codes)
        return every, codes, jax.vmap(lambda s: env.observe(level, s))(back)

    visited = jax.tree.map(lambda x: x[0, 0], world.episodes.state)
    every, codes, shown = there_and_back(at(world.levels, 0), visited)
    assert (every == states).all()
    assert codes.dtype == jnp.int32 and codes.min() >= 0 and codes.max() < env.num_states
    assert (shown == world.episodes.timestep.observation[0, 0]).all()


def test_the_table_agrees_with_step(world):
    level, states = at(world.levels, 0), numbers(world.env)
    actions = jnp.arange(world.env.num_actions, dtype=jnp.int32)
    table = jax.device_get(TABULATE(world.env, level))
    assert np.allclose(table.probability.sum(-1), 1)
    assert table.target.min() >= 0 and table.target.max() < world.env.num_states
    assert table.terminated.any() == ends(world) and (table.reward > 0).any()
    assert table.start == world.env.encode(level, RESET(world.env, jax.random.key(9), level))

    @jax.jit
    def every_step(key):
        def one(index, action):
            outcome = world.env.step(key, level, world.env.decode(level, index), action)
            return world.env.encode(level, outcome.state), outcome.reward, outcome.terminated

        return jax.vmap(lambda i: jax.vmap(lambda a: one(i, a))(actions))(states)

    for seed in range(3):
        after = every_step(jax.random.key(seed))
        target, reward, terminated = (np.asarray(x)[..., None] for x in after)
        possible = (table.target == target) | (table.terminated & terminated)
        possible &= (table.reward == reward) & (table.terminated == terminated)
        assert (possible & (table.probability > 0)).any(-1).all()


def test_nothing_recompiles_between_levels_and_numbers(world):
    def use(env, index):
        key, level, state, action = transitions(world)[index]
        RESET(env, key, level)
        STEP(env, key, level, state, action)
        OBSERVE(env, level, state)
        TABULATE(env, level)
        levels = raw_levels(env, index, COUNT)
        walk(env, key, levels, optima(env, levels))

    functions = (RESET, STEP, OBSERVE, TABULATE, LEVELS, optima, walk)
    use(world.env, 0)
    sizes = [f._cache_size() for f in functions]
    assert min(sizes) > 0 and jax.tree.leaves(world.env)
    for index in range(1, SAMPLES):
        # Every traced number of the environment and of what it wraps is changed.
        use(jax.tree.map(lambda x, i=index: x * (1 - i / 8), world.env), index)
    assert [f._cache_size() for f in functions] == sizes
    STEP(world.env.replace(horizon=world.env.horizon + 1), *transitions(world)[0])
    assert STEP._cache_size() == sizes[1] + 1  # a size is part of the program


def test_a_picture_shows_the_agent_once(world):
    picture = world.env.text(at(world.levels, 0), at(world.episodes.state, 0, 0, 0))
    assert picture.count("@") == 1
    assert picture == "\n".join(line.rstrip() for line in picture.splitlines())


def test_what_a_family_lacks_is_named():
    with pytest.raises(NotImplementedError, match="Env does not define 'num_actions'"):
        _ = Env().num_actions


def test_no_two_families_are_one_to_a_compiler():
    """JAX's own dataclass nodes are equal whatever their class; then programs are mixed up."""
    kinds = [jax.tree.structure(envs.make(name)) for name in envs.names()]
    for i, kind in enumerate(kinds):
        assert [kind == other for other in kinds] == [i == j for j in range(len(kinds))]

    class Twin(type(envs.make("torus"))):
        pass

    assert jax.tree.structure(Twin()) != jax.tree.structure(envs.make("torus"))
    assert jax.tree.structure(behind(Twin())) != jax.tree.structure(behind(envs.make("torus")))
    again = jax.tree.map(lambda x: x, behind(envs.make("torus", size=5)))
    assert type(again.bare).__name__ == "Torus" and again.bare.size == 5
