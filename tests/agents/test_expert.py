"""Experts: what is revealed to them, and that they act alike bare and behind any wrappers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents import checkpoint
from agents.expert import Expert, outward, untrained
from envs.core import Env
from envs.pixels import Pixels
from envs.rollout import rollout
from envs.unforgiving import Unforgiving, unforgiving
from envs.wrappers import Scramble, Sticky, Wrapper, pad, wrap
from tests.envs.worlds import behind, same

SIZES = {"width": 16, "layers": 2}


@pytest.fixture(scope="module", autouse=True)
def strict():
    """No silent promotion between int32, uint32 and float32."""
    with jax.numpy_dtype_promotion("strict"):
        yield


def opinionated(seed: int, env: Env, temperature: float = 0.0) -> Expert:
    """An untrained expert with logits that differ much from state to state, not on the whole."""
    key = jax.random.key(seed)
    expert = untrained(key, env, env.level(key), **SIZES)
    rows = jax.random.randint(key, (64, expert.scale.mean.size), 0, 9).astype(jnp.float32)
    logits = expert.judge(rows)[0]
    gain = 2 / logits.std()
    policy = (expert.network.policy[0] * gain, -logits.mean(0) * gain)
    network = expert.network.replace(policy=policy)
    return expert.replace(network=network, temperature=jnp.float32(temperature))


# What is revealed. -------------------------------------------------------------------------


def test_all_numbers_of_level_and_state_are_revealed():
    env = envs.make("key-door", size=4)
    level = env.level(jax.random.key(0))
    state = env.reset(jax.random.key(0), level)
    told = env.reveal(level, state.replace(holds=jnp.int32(1)))
    assert told.dtype == jnp.float32
    scalars = [int(x) for x in (level.door, level.key, level.start, level.goal, state.cell)]
    numbers = [*np.asarray(level.walls).astype(float), *scalars, 1.0]
    assert told[: len(numbers)].tolist() == numbers


def test_whole_numbers_are_told_apart_by_waves_and_the_others_have_none():
    env = envs.make("dark-room", size=3)
    level = {"flag": jnp.array([True, False]), "half": jnp.float32(0.5), "big": jnp.uint8(9)}
    told = np.stack([env.reveal(level, jnp.int32(i)) for i in range(65)])
    assert told.shape == (65, 5 + 2 * 2 * 6) and told.dtype == np.float32
    assert (told[:, 4] == np.arange(65)).all()
    angles = np.arange(65)[:, None] * 2 * np.pi / np.array([2, 4, 8, 16, 32, 64])
    np.testing.assert_allclose(told[:, 5 + 6 : 5 + 12], np.sin(angles), atol=1e-4)
    np.testing.assert_allclose(told[:, 5 + 18 :], np.cos(angles), atol=1e-4)
    waves = told[:64, 5:]
    apart = np.abs(waves[:, None] - waves[None]).max(-1)
    assert (apart + np.eye(64) > 0.7).all()
    np.testing.assert_allclose(told[64, 5:], told[0, 5:], atol=1e-4)  # the longest period is over
    assert env.reveal({"flag": jnp.array([True])}, ()).tolist() == [1.0]


def test_random_keys_are_not_revealed():
    env = envs.make("dark-room", size=3)
    level = {"key": jax.random.key(3), "half": jnp.float16(0.5), "other": 2.0}
    assert env.reveal(level, jnp.array([[True], [False]])).tolist() == [0.5, 2.0, 1.0, 0.0]


def wrapped(kind: str, env: Env) -> Env:
    common = pad(env, env.num_fields + 1, env.num_symbols + 2, env.num_actions + 2)
    return {
        "all": lambda: behind(env),
        "scrambled inside": lambda: wrap(Sticky, wrap(Scramble, env), stickiness=0.2),
        "unforgiving": lambda: wrap(Scramble, unforgiving(env, 0.4, 0.5)),
        "twice scrambled": lambda: wrap(Scramble, wrap(Scramble, common)),
        "pixels": lambda: wrap(Pixels, wrap(Sticky, wrap(Scramble, common), stickiness=0.0)),
    }[kind]()


def peeled(env: Env, level, state) -> tuple:
    """Level and state of the bare family, by hand: whatever each wrapper calls what is inside."""
    for _ in range(8):
        level, state = getattr(level, "inner", level), getattr(state, "inner", state)
    return level, state


def meant(env: Env, level, action: int) -> int:
    """What an action means to the bare family, by looking it up from wrapper to wrapper."""
    while isinstance(env, Wrapper):
        action = int(level.actions[action]) if isinstance(env, Scramble) else action
        level = level.inner if isinstance(env, (Scramble, Unforgiving)) else level
        env = env.env
    return action


@pytest.mark.parametrize(
    "kind", ["all", "scrambled inside", "unforgiving", "twice scrambled", "pixels"]
)
def test_an_expert_takes_the_same_inner_actions_behind_wrappers_as_bare(kind):
    """Half of the time greedily, half of the time drawn."""
    bare = envs.make("key-door", size=4)
    env = wrapped(kind, bare)
    opinion = opinionated(0, bare)

    @jax.jit
    def both(key, temperature):
        expert = opinion.replace(temperature=temperature)
        level_key, state_key, act_key = jax.random.split(key, 3)
        level = env.level(level_key)
        state = env.decode(level, jax.random.randint(state_key, (), 0, env.num_states))
        inner, within = peeled(env, level, state)
        outer, _ = expert.act(act_key, env, level, state, None)
        naked, _ = expert.act(act_key, bare, inner, within, None)
        told = (env.reveal(level, state), bare.reveal(inner, within))
        return level, outer, naked, told

    levels, outer, naked, (one, other) = jax.device_get(
        jax.jit(jax.vmap(both))(
            jax.random.split(jax.random.key(1), 64), jnp.repeat(jnp.array([0.0, 1.0]), 32)
        )
    )
    assert (one == other).all()
    assert outer.dtype == naked.dtype == np.int32
    assert len(set(naked.tolist())) == 4
    for i, action in enumerate(outer):
        level = jax.tree.map(lambda x, i=i: x[i], levels)
        assert meant(env, level, action) == naked[i]
    assert (outer != naked).mean() > 0.4  # scrambled: passing actions through would be found


def test_every_action_has_its_way_outward():
    """Over all actions, the outward ones mean the inner ones again and are pairwise different."""
    bare = envs.make("dark-room", size=3)
    env = behind(bare)
    level = env.level(jax.random.key(5))
    state = env.reset(jax.random.key(0), level)
    out = [int(outward(env, level, state, jnp.int32(a))) for a in range(4)]
    assert len(set(out)) == 4
    assert [int(level.actions[a]) for a in out] == [0, 1, 2, 3]
    assert [int(outward(bare, level.inner, state.inner, jnp.int32(a))) for a in range(4)] == [
        0, 1, 2, 3,
    ]  # fmt: skip


# Acting. ------------------------------------------------------------------------------------


def test_temperature_goes_from_greedy_to_the_softmax_and_on():
    env = envs.make("dark-room", size=3)
    level = env.level(jax.random.key(0))
    state = env.reset(jax.random.key(0), level)
    expert = opinionated(1, env)
    logits = jnp.array([0.0, 1.0, 2.0, 0.5])
    flat = jnp.zeros_like(expert.network.policy[0])
    expert = expert.replace(network=expert.network.replace(policy=(flat, logits)))

    @functools.partial(jax.jit, static_argnums=1)
    def shares(temperature, count: int = 4000):
        act = expert.replace(temperature=temperature).act
        keys = jax.random.split(jax.random.key(2), count)
        taken = jax.vmap(lambda key: act(key, env, level, state, None)[0])(keys)
        return jnp.bincount(taken, length=4) / count

    assert shares(jnp.float32(0.0)).tolist() == [0, 0, 1, 0]
    for temperature in (0.5, 1.0, 3.0):
        want = np.asarray(jax.nn.softmax(logits / temperature))
        error = 4 * np.sqrt(want * (1 - want) / 4000)
        assert (np.abs(np.asarray(shares(jnp.float32(temperature))) - want) < error).all()


def test_a_number_that_never_varies_is_silent():
    env = envs.make("dark-room", size=3)
    expert = opinionated(0, env)
    size = expert.scale.mean.size
    rows = jnp.full((4096, size), 123456.7)
    expert = expert.replace(scale=expert.scale.extend(rows))
    assert np.abs(np.asarray(expert.scale(rows[:1]))).max() < 0.01


def test_rollouts_take_an_expert_like_any_policy():
    env = behind(envs.make("dark-room", size=3))
    levels = jax.vmap(env.level)(jax.random.split(jax.random.key(0), 4))
    expert = opinionated(0, env, temperature=1.0)
    found = jax.jit(lambda k: rollout(env, expert, k, levels, rollouts=3))(jax.random.key(1))
    assert found.action.shape == (4, 3, env.horizon)
    idle = np.asarray(levels.actions)[:, None, None, :] == 4  # Pad's: the expert never takes it
    taken = np.asarray(found.action)[..., None] == np.arange(5)
    assert not (taken & idle).any()


def test_an_expert_of_another_size_is_refused():
    expert = opinionated(0, envs.make("dark-room", size=3))
    env = behind(envs.make("dark-room", size=4))
    level = env.level(jax.random.key(0))
    state = env.reset(jax.random.key(0), level)
    with pytest.raises(
        ValueError, match="knows 48 numbers and 4 actions, DarkRoom has 55 and 4; train one"
    ):
        expert.act(jax.random.key(0), env, level, state, None)


# Keeping. -----------------------------------------------------------------------------------


def test_a_restored_expert_acts_the_same(tmp_path):
    env = behind(envs.make("dark-room", size=3))
    expert = opinionated(3, env, temperature=0.7)
    checkpoint.save(tmp_path / "expert", expert)
    like = opinionated(4, env)
    restored = checkpoint.restore(tmp_path / "expert", like)
    assert same(restored, jax.device_get(expert)) and not same(like, expert)

    @jax.jit
    def actions(expert):
        def one(key):
            level = env.level(key)
            state = env.decode(level, jax.random.randint(key, (), 0, env.num_states))
            return expert.act(key, env, level, state, None)[0]

        return jax.vmap(one)(jax.random.split(jax.random.key(0), 256))

    assert (actions(restored) == actions(expert)).all()
    assert (actions(like) != actions(expert)).any()


def test_an_expert_is_not_restored_into_another_size(tmp_path):
    env = envs.make("dark-room", size=3)
    checkpoint.save(tmp_path / "expert", opinionated(0, env))
    wider = untrained(jax.random.key(0), env, env.level(jax.random.key(0)), **SIZES | {"width": 8})
    with pytest.raises(ValueError, match="of another model"):
        checkpoint.restore(tmp_path / "expert", wider)
