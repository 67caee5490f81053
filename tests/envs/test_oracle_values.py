"""Exact values over time, of a policy and of the best one, against dynamic programming in plain
Python over the enlarged state (state, previous action)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs.oracle import optimal_return, optimal_values, policy_return, policy_values
from tests.envs.reference import dynamics, plain
from tests.envs.test_oracle import codes
from tests.envs.worlds import QUICK, each, raw_levels
from tests.envs.worlds import behind as wrapped

STICKINESS, HORIZON, COUNT = 0.25, 9, 4


@jax.jit(compiler_options=QUICK)
def values(env, levels, policy):
    """Values of the policy and of the best one, their returns, and the advantages of both at all
    times, states and executed actions."""

    def one(level):
        table = env.tabulate(level)
        found = policy_values(table, policy, HORIZON), optimal_values(table, HORIZON)
        returns = policy_return(table, policy, HORIZON), optimal_return(table, HORIZON)
        sizes = HORIZON, env.num_states, env.num_actions + 1
        grid = jnp.meshgrid(*(jnp.arange(n) for n in sizes), indexing="ij")
        return found, returns, [x.advantage(*grid) for x in found], table.start

    return jax.vmap(one)(levels)


def backwards(table, policy):
    """Q float64[T, S, A + 1, A] in plain Python; of the best policy where there is none."""
    value = np.zeros((len(table.reward), table.reward.shape[1] + 1))
    every = []
    for _ in range(HORIZON):
        every.append(table.backup(value, 1.0))
        value = every[-1].max(-1) if policy is None else (policy[:, None] * every[-1]).sum(-1)
    return np.stack(every[::-1])


@pytest.mark.parametrize("name", ["gauntlet", "lava-crossing", "random-mdp"])
@pytest.mark.parametrize("stickiness", [0.0, STICKINESS])
def test_values_are_exact_at_all_times(name, stickiness):
    env = wrapped(envs.make(name), stickiness)
    levels = raw_levels(env, 4, COUNT)
    noise = np.random.default_rng(0).normal(size=(env.num_states, env.num_actions)) * 2
    policy = np.asarray(jax.nn.softmax(jnp.asarray(noise, jnp.float32)))
    found, returns, advantages, first = jax.device_get(values(env, levels, policy))
    seen = 0.0
    for i, level in enumerate(each(levels)):
        table, states = dynamics(plain(name, level.inner), stickiness, idle=1)
        numbers, order = codes(env.env, level, states), np.asarray(level.actions)
        back = np.argsort(order)  # the reference knows the actions' own names
        for which, chance in enumerate((policy[numbers][:, back], None)):
            q = backwards(table, chance)[..., order]
            q = np.concatenate([q[:, :, :-1][:, :, order], q[:, :, -1:]], axis=2)
            chosen = q.max(-1) if chance is None else (policy[numbers][:, None] * q).sum(-1)
            value, said = found[which].value[i], advantages[which][i][:, numbers]
            np.testing.assert_allclose(value[:-1][:, numbers], chosen, atol=3e-6)
            assert not value[-1].any()
            np.testing.assert_allclose(said, q - chosen[..., None], atol=3e-6)
            np.testing.assert_allclose(found[which].execute[i][:, numbers], q[:, :, -1], atol=3e-6)
            assert value[0, first[i], -1] == pytest.approx(returns[which][i], abs=1e-6)
            seen = max(seen, np.ptp(said))
    assert seen > 0.1
