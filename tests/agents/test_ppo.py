"""PPO: its arithmetic against numpy, what it plays and what it bootstraps from."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from agents import ppo
from agents.expert import Scale
from agents.ppo import PPOConfig, Sample, Steps
from envs.core import Env, Outcome, static
from tests.envs.worlds import same

SMALL = PPOConfig(environments=16, steps=8, minibatches=4, width=16, updates=6, chunk=3)


@pytest.fixture
def strict():
    """No silent promotion between int32, uint32 and float32; optax itself does without."""
    with jax.numpy_dtype_promotion("strict"):
        yield


@pytest.fixture(scope="module")
def room():
    """A small dark room and 32 of its levels, admitted or not."""
    env = envs.make("dark-room", size=3, horizon=5)
    return env, jax.vmap(env.level)(jax.random.split(jax.random.key(0), 32))


# Arithmetic. ------------------------------------------------------------------------------


def some_steps(seed: int, times: int = 12, players: int = 9) -> Steps:
    """Random steps in which episodes terminate, are truncated and go on."""
    rng = np.random.default_rng(seed)
    number = lambda: jnp.asarray(rng.normal(size=(times, players)), jnp.float32)  # noqa: E731
    kind = rng.integers(0, 4, (times, players))
    return Steps(
        revealed=jnp.zeros((times, players, 1)),
        action=jnp.zeros((times, players), jnp.int32),
        log=number(),
        value=number(),
        after=number(),
        reward=number(),
        terminated=jnp.asarray(kind == 0),
        last=jnp.asarray(kind <= 1),
        earned=number(),
    )


def plain_advantages(steps: Steps, gamma: float, lam: float, *, broken: str = "") -> np.ndarray:
    """The definition: the sum over what is left of each episode, term by term."""
    reward, value, after = map(np.asarray, (steps.reward, steps.value, steps.after))
    terminated, last = np.asarray(steps.terminated), np.asarray(steps.last)
    found = np.zeros_like(value)
    for player in range(value.shape[1]):
        for time in range(len(value)):
            weight = 1.0
            for t in range(time, len(value)):
                ends = last if broken == "truncation is an end" else terminated
                future = 0.0 if ends[t, player] else after[t, player]
                surprise = reward[t, player] + gamma * future - value[t, player]
                found[time, player] += weight * surprise
                weight *= gamma * lam
                if last[t, player] and broken != "over the end":
                    break
    return found


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize(("gamma", "lam"), [(0.95, 0.95), (0.9, 0.0), (0.99, 1.0), (0.0, 0.5)])
def test_advantages_are_the_sum_of_discounted_surprises(gamma, lam):
    steps = some_steps(0)
    found = ppo.advantages(steps, PPOConfig(gamma=gamma, gae_lambda=lam))
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, plain_advantages(steps, gamma, lam), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("broken", ["truncation is an end", "over the end"])
def test_the_plain_loop_tells_broken_bootstrapping_apart(broken):
    steps = some_steps(0)
    found = np.asarray(ppo.advantages(steps, PPOConfig()))
    wrong = plain_advantages(steps, 0.95, 0.95, broken=broken)
    assert np.abs(found - wrong).max() > 0.5


def plain_loss(logits, value, sample: Sample, config: PPOConfig) -> tuple[float, ...]:
    """Equations 7 and 9, one sample after the other."""
    objective, error, entropy, clipped = [], [], [], []
    for i, action in enumerate(sample.action):
        share = np.exp(logits[i] - logits[i].max())
        share /= share.sum()
        ratio = share[action] / np.exp(sample.log[i])
        low, high = 1 - config.clip, 1 + config.clip
        lead = sample.advantage[i]
        objective.append(min(ratio * lead, min(max(ratio, low), high) * lead))
        error.append((value[i] - sample.target[i]) ** 2)
        entropy.append(-(share * np.log(share)).sum())
        clipped.append(not low <= ratio <= high)
    parts = [float(np.mean(x)) for x in (objective, error, entropy, clipped)]
    return (config.critic * parts[1] - parts[0] - config.entropy * parts[2], *parts)


def some_sample(seed: int, count: int = 64):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(count, 4)).astype(np.float32)
    action = rng.integers(0, 4, count, dtype=np.int32)
    before = logits + rng.normal(scale=0.3, size=logits.shape)
    log = (before - np.log(np.exp(before).sum(1, keepdims=True)))[np.arange(count), action]
    lead, target, value = rng.normal(size=(3, count)).astype(np.float32)
    sample = Sample(np.zeros((count, 1)), action, log.astype(np.float32), lead, target)
    return logits, value, jax.tree.map(jnp.asarray, sample)


@pytest.mark.usefixtures("strict")
def test_the_loss_is_equation_9():
    config = PPOConfig(clip=0.15, critic=0.7, entropy=0.03)
    logits, value, sample = some_sample(0)
    total, parts = ppo.loss(jnp.asarray(logits), jnp.asarray(value), sample, config)
    np.testing.assert_allclose(
        [total, *parts], plain_loss(logits, value, sample, config), rtol=1e-5, atol=1e-6
    )
    assert 0.1 < parts[3] < 0.9  # some are clipped, some are not


def test_a_ratio_that_went_far_enough_pulls_no_more():
    """The gradient of the objective is 0 exactly where the advantage would push the ratio further
    out of [1 − ε, 1 + ε], and not elsewhere."""
    config = PPOConfig(critic=0.0, entropy=0.0)
    logits, value, sample = some_sample(1)
    ratio = np.exp(np.asarray(ppo.chosen(jnp.asarray(logits), sample.action) - sample.log))
    pull = jax.grad(lambda x: ppo.loss(x, jnp.asarray(value), sample, config)[0])(
        jnp.asarray(logits)
    )
    lead = np.asarray(sample.advantage)
    done = np.where(lead > 0, ratio > 1 + config.clip, ratio < 1 - config.clip)
    assert 5 < done.sum() < 59
    assert ((np.asarray(pull) == 0).all(1) == done).all()


@pytest.mark.usefixtures("strict")
def test_the_scale_is_that_of_all_rows_seen():
    rng = np.random.default_rng(0)
    parts = [rng.normal(3, 2, (n, 5)).astype(np.float32) for n in (7, 100, 31)]
    scale = Scale(jnp.float32(0.0), jnp.zeros(5), jnp.ones(5))
    for part in parts:
        scale = scale.extend(jnp.asarray(part))
    whole = np.concatenate(parts)
    assert scale.count == len(whole)
    np.testing.assert_allclose(scale.mean, whole.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scale.variance, whole.var(0), rtol=1e-4)


# Play. ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("strict")
def test_players_go_on_in_another_level_and_values_are_those_of_the_step(room):
    env, levels = room
    learner = ppo.start(env, jax.random.key(1), levels, SMALL)
    expert = learner.expert

    @jax.jit
    def played(key):
        return ppo.play(env, key, levels, expert, learner.players, 40)

    players, steps = jax.device_get(played(jax.random.key(2)))
    last, terminated, revealed = steps.last, steps.terminated, steps.revealed
    walls, start, goal, cell = revealed[..., :9], *np.moveaxis(revealed[..., 9:12], -1, 0)
    assert last.any() and terminated.any() and (last & ~terminated).any()
    assert (terminated <= last).all()
    # Within an episode the level stays, and the value after a step is that before the next.
    runs = ~last[:-1]
    same_level = (revealed[1:, :, :11] == revealed[:-1, :, :11]).all(-1)
    assert same_level[runs].all()
    np.testing.assert_allclose(steps.after[:-1][runs], steps.value[1:][runs], atol=1e-6)
    # After its end: a first state, of a level of the buffer, mostly another one; the value after
    # the step is not that of the new beginning.
    begun = last[:-1]
    assert (cell[1:][begun] == start[1:][begun]).all()
    assert same_level[begun].mean() < 0.2
    known = {row.tobytes() for row in np.asarray(jax.vmap(first_seen(env))(levels))}
    assert {row.tobytes() for row in revealed[1:][begun]} <= known
    apart = np.abs(steps.after[:-1] - steps.value[1:])[begun]
    assert (apart > 1e-4).mean() > 0.8
    # Rewards are those of reaching the goal, returns those of the whole episode.
    assert (steps.reward == terminated).all()
    assert (steps.earned == terminated).all()
    assert (walls.sum(-1) < 8).all() and (goal != start).all()
    assert (players.earned == 0).all() and players.index.dtype == np.int32


def first_seen(env):
    return lambda level: env.reveal(level, env.reset(jax.random.key(0), level))


@pytest.mark.usefixtures("strict")
def test_actions_are_drawn_from_the_policy_and_their_log_probability_is_kept(room):
    env, levels = room
    learner = ppo.start(env, jax.random.key(3), levels, SMALL)
    network = learner.expert.network
    lean = network.replace(policy=(network.policy[0], jnp.array([0.0, 1.0, 2.0, 0.5])))
    expert = learner.expert.replace(network=lean)
    play = jax.jit(lambda k: ppo.play(env, k, levels, expert, learner.players, 200)[1])
    steps = play(jax.random.key(4))
    logits, value = expert.judge(steps.revealed)
    share = np.asarray(jax.nn.softmax(logits))
    taken = np.eye(4)[np.asarray(steps.action)]
    np.testing.assert_allclose(np.log((share * taken).sum(-1)), steps.log, atol=1e-5)
    np.testing.assert_allclose(value, steps.value, atol=1e-5)
    error = np.sqrt((share * (1 - share)).sum((0, 1))) / taken[..., 0].size
    assert (np.abs((taken - share).mean((0, 1))) < 4 * error).all()


# Bootstrapping, learnt. ----------------------------------------------------------------------


class Belt(Env):
    """From place 0 to place 1, and then 0.5 a step for ever; one level, actions do nothing.

    The horizon of 2 cuts it off after the first reward, or, if ``final``, ends it there."""

    horizon: int = static(2)
    final: bool = static(False)

    @property
    def num_actions(self):
        return 2

    @property
    def num_fields(self):
        return 1

    @property
    def num_symbols(self):
        return 2

    def level(self, key):
        return jnp.zeros(1)

    def reset(self, key, level):
        return jnp.int32(0)

    def step(self, key, level, state, action):
        paid = state == 1
        return Outcome(jnp.int32(1), 0.5 * paid.astype(jnp.float32), paid & self.final)

    def observe(self, level, state):
        return state[None]


@pytest.mark.parametrize(("final", "late"), [(False, 1.0), (True, 0.5)])
def test_a_truncated_episode_is_worth_what_would_have_come_and_a_terminated_one_nothing(
    final, late
):
    """With γ = 1/2, the value of place 1 is 0.5 / (1 − γ) = 1 if the episode is only cut off there
    and 0.5 if it ends; that of place 0 is half of it. A learner that took the cut for an end would
    find 0.5, one that bootstrapped from the next episode's first state 2/3, and one that took an
    end for a cut 1."""
    config = PPOConfig(
        environments=16, steps=8, minibatches=2, width=16, updates=120, chunk=120, gamma=0.5,
        gae_lambda=0.5, learning_rate=3e-3,
    )  # fmt: skip
    env = Belt(final=final)
    expert, _ = ppo.train(env, jax.random.key(0), jnp.zeros((1, 1)), config)
    places = jax.vmap(env.reveal, (None, 0))(jnp.zeros(1), jnp.arange(2))
    value = expert.judge(places)[1]
    np.testing.assert_allclose(value, [late / 2, late], atol=0.04)


# Training as a whole. --------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(room):
    env, levels = room
    seen = []
    expert, metrics = ppo.train(env, jax.random.key(5), levels, SMALL, seen.append)
    return expert, metrics, seen


def test_a_key_gives_a_result(room, trained):
    env, levels = room
    again, metrics = ppo.train(env, jax.random.key(5), levels, SMALL)
    assert same((again, metrics), trained[:2])
    other, _ = ppo.train(env, jax.random.key(6), levels, SMALL)
    assert not same(other.network, again.network)


def test_every_chunk_is_reported_in_order_and_all_of_them_returned(trained):
    _, metrics, seen = trained
    assert len(seen) == 2
    assert all(leaf.shape == (3,) for chunk in seen for leaf in jax.tree.leaves(chunk))
    assert same(jax.tree.map(lambda *x: np.concatenate(x), *seen), metrics)
    assert (metrics.episodes > 0).all() and (metrics.entropy > 0).all()
    won = metrics.episodes * metrics.returns  # each episode pays 0 or 1
    np.testing.assert_allclose(won, np.round(won), atol=1e-3)


def test_numbers_do_not_recompile(room, trained):
    env, levels = room
    compiled = ppo.learn._cache_size()
    changed = dataclasses.replace(SMALL, learning_rate=2e-3, gamma=0.9, entropy=0.0, updates=3)
    ppo.train(env.replace(density=0.1), jax.random.key(5), levels, changed)
    assert ppo.learn._cache_size() == compiled


def test_the_learning_rate_falls_to_nothing(room):
    """The last of many updates moves the weights by less than the first."""
    env, levels = room
    learner = ppo.start(env, jax.random.key(7), levels, SMALL)
    step = jax.jit(lambda learner: ppo.update(env, levels, SMALL, learner)[0])

    def moved(learner) -> float:
        pairs = zip(*map(jax.tree.leaves, (learner.expert.network, step(learner).expert.network)))
        return max(float(jnp.abs(x - y).max()) for x, y in pairs)

    early = moved(learner)
    assert moved(learner.replace(step=jnp.int32(5))) < 0.5 * early
    assert moved(learner.replace(step=jnp.int32(6))) < 1e-5 * early


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"minibatches": 3}, "environments 16 and minibatches 3 of PPO: .* try minibatches 1"),
        ({"updates": 10, "chunk": 4}, "updates 10 and chunk 4 of PPO: .* try chunk 2"),
        ({"steps": 0}, "steps 0 of PPO: use 1 or more"),
    ],
)
def test_sizes_that_contradict_each_other_are_refused(room, fields, message):
    env, levels = room
    with pytest.raises(ValueError, match=message):
        ppo.train(env, jax.random.key(0), levels, dataclasses.replace(SMALL, **fields))


def test_a_training_that_diverges_stops_by_name(room):
    env, levels = room
    wild = dataclasses.replace(SMALL, learning_rate=float("inf"))
    with pytest.raises(FloatingPointError, match=r"diverged within 3 updates; lower learning_rate"):
        ppo.train(env, jax.random.key(0), levels, wild)
