"""Families without a grid: first steps by hand, chance, what is shown, and what is refused."""

import functools
import itertools
from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import envs
from envs import tiles
from envs.core import advance, begin
from envs.families import bandit, random_mdp
from envs.oracle import optimal_return, random_return
from tests.envs.reference import plain, steps_to_goal
from tests.envs.worlds import QUICK, each, raw_levels, same

NAMES = (
    "bandit", "combination-lock", "commit", "gauntlet", "lights-out", "random-mdp", "workshop",
)  # fmt: skip

BEGIN = jax.jit(begin, compiler_options=QUICK)
ADVANCE = jax.jit(advance, compiler_options=QUICK)


# First steps by hand. -------------------------------------------------------------------------
def play(env, level, actions) -> list[tuple]:
    """(observation, reward, terminated) of the first state and after each action."""
    episode = BEGIN(env, jax.random.key(0), level)
    found = [episode]
    for action in actions:
        episode = ADVANCE(env, jax.random.key(1), level, episode, jnp.int32(action))
        found.append(episode)
    steps = [episode.timestep for episode in found]
    return [(s.observation.tolist(), float(s.reward), bool(s.terminated)) for s in steps]


LOCK = """
@..G#
>A<.#
A>>.#
>A>.#
"""


def test_a_lock_opens_by_hand():
    env = envs.make("combination-lock", stages=4, dials=3, shortest=1)
    level = env.parse(LOCK)
    assert level.leads.tolist() == [[1, 0, 1], [0, 2, 0], [1, 3, 3], [0, 0, 0]]
    assert level.goal == 3
    steps = play(env, level, [1, 0, 1, 0, 0, 2, 1, 2, 0])
    assert [stage for (stage,), _, _ in steps] == [0, 0, 1, 2, 1, 0, 1, 2, 3, 3]
    assert [reward for _, reward, _ in steps] == [0] * 8 + [1, 0]
    assert [over for _, _, over in steps] == [False] * 8 + [True, True]


def test_lights_go_out_by_hand():
    env = envs.make("lights-out", lights=3, buttons=2, colours=3, presses=1)
    level = env.parse("@2*o\na^..\nb^^.")
    assert level.wires.tolist() == [[1, 0, 0], [1, 1, 0]] and level.start.tolist() == [2, 1, 0]
    steps = play(env, level, [0, 1, 1, 0])
    assert [lit for lit, _, _ in steps] == [[2, 1, 0], [0, 1, 0], [1, 2, 0], [2, 0, 0], [0, 0, 0]]
    assert steps[-1][1:] == (1, True) and not any(over for _, _, over in steps[:-1])
    # The order of presses is no matter, and three of one button are none.
    for actions in itertools.permutations([0, 0, 1, 1]):
        assert play(env, level, actions)[-1] == ([0, 0, 0], 1, True)
    assert play(env, level, [1, 1, 1])[-1] == ([2, 1, 0], 0, False)
    assert steps_to_goal(plain("lights-out", jax.device_get(level))) == 4


COMMIT = """
@#.
..b
.#.
"""


@pytest.mark.parametrize(
    ("actions", "last"),
    [
        ([2, 1, 1, 5], ([5, 11], 1, True)),  # down, right, right: the clue; then the answer b
        ([2, 1, 1, 4], ([5, 11], 0, True)),  # a wrong answer
        ([5], ([0, 9], 0, True)),  # the right one, unfounded
        ([2, 1, 5], ([4, 9], 0, True)),  # still
        ([1, 0, 3], ([0, 9], 0, False)),  # a wall, the border, the border
        ([2, 1, 1, 3, 3], ([3, 11], 0, False)),  # what has been seen is kept
        ([4, 2, 1, 1, 5], ([0, 9], 0, True)),  # too late
    ],
)
def test_an_answer_takes_a_clue(actions, last):
    env = envs.make("commit", size=3, answers=3)
    level = env.parse(COMMIT)
    assert (level.answer, level.clue, level.start) == (1, 5, 0)
    assert play(env, level, actions)[-1] == last


def test_first_steps_of_chance_by_hand():
    env = envs.make("bandit", arms=2)
    steps = play(env, bandit.Level(jnp.array([1.0, 0.0])), [0, 1, 0] * 6)
    assert [16 * reward for _, reward, _ in steps] == [0, *([1, 0, 1] * 6)[:16], 0, 0]
    assert all(seen == [0] and not over for seen, _, over in steps)
    env = envs.make("random-mdp", nodes=4, degree=1, reach=1, distance=1)
    level = random_mdp.Level(
        target=jnp.array([[[1, 3]], [[0, 2]], [[2, 2]], [[0, 2]]], jnp.int32),
        probability=jnp.array([[[1, 0]], [[0, 1]], [[1, 0]], [[0.5, 0.5]]], jnp.float32),
        start=jnp.int32(0),
        goal=jnp.int32(2),
    )
    assert play(env, level, [0, 0, 0]) == [
        ([0], 0, False),
        ([1], 0, False),
        ([2], 1, True),
        ([2], 0, True),
    ]


# Chance, exactly. -----------------------------------------------------------------------------
def test_references_of_a_bandit_are_shares():
    env = envs.make("bandit")
    levels = raw_levels(env, 2, 64)

    def both(level):
        table = env.tabulate(level)
        return random_return(table, 16), optimal_return(table, 16)

    random, best = jax.jit(jax.vmap(both), compiler_options=QUICK)(levels)
    payoff = np.asarray(levels.payoff, np.float64)
    assert np.allclose(random, payoff.mean(1), atol=2e-6)
    assert np.allclose(best, payoff.max(1), atol=2e-6)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("bandit", {}), ("random-mdp", {"branches": 3, "nodes": 12, "distance": 4, "density": 0.3})],
)
def test_steps_are_drawn_from_the_outcomes(name, sizes):
    env, draws = envs.make(name, **sizes), 4000
    level = each(raw_levels(env, 5, 1))[0]
    level = jax.tree.map(jnp.asarray, level)
    table = jax.device_get(jax.jit(env.tabulate, compiler_options=QUICK)(level))

    def one(index, action, key):
        outcome = env.step(key, level, env.decode(level, index), action)
        return env.encode(level, outcome.state), outcome.reward, outcome.terminated

    over_keys = jax.vmap(one, (None, None, 0))
    grid = jax.vmap(jax.vmap(over_keys, (None, 0, None)), (0, None, None))
    states, actions = jnp.arange(env.num_states), jnp.arange(env.num_actions)
    keys = jax.random.split(jax.random.key(6), draws)
    after = [np.asarray(x) for x in jax.jit(grid, compiler_options=QUICK)(states, actions, keys)]
    values = []
    for s, a in np.ndindex(table.target.shape[:2]):
        seen = Counter(zip(*(x[s, a].tolist() for x in after), strict=True))
        expected = defaultdict(float)
        for k, chance in enumerate(table.probability[s, a].tolist()):
            landing = (table.target[s, a, k], table.reward[s, a, k], table.terminated[s, a, k])
            expected[tuple(x.item() for x in landing)] += chance
        assert all(expected[landing] > 0 for landing in seen)
        for landing, chance in expected.items():
            error = np.sqrt(draws * chance * abs(1 - chance)) + 1e-3
            values.append((seen[landing] - draws * chance) / error)
    assert np.abs(values).max() < 5
    assert len(values) > env.num_actions


# What is shown, and to whom. ------------------------------------------------------------------
@pytest.mark.parametrize("name", NAMES)
def test_pixels_tell_what_the_symbols_tell(name):
    """Over all states of several levels, views are equal where observations are, and only there."""
    env = envs.make(name)
    levels = raw_levels(env, 3, 4)

    def every(level):
        states = jax.vmap(lambda i: env.decode(level, i))(jnp.arange(env.num_states))
        see = jax.vmap(lambda s: (env.observe(level, s), env.view(level, s).ravel()))
        return see(states)

    seen, shown = jax.jit(jax.vmap(every), compiler_options=QUICK)(levels)
    rows = [
        {tuple(row) for row in np.concatenate(x, axis=-1).reshape(-1, width).tolist()}
        for x, width in (
            ((seen,), seen.shape[-1]),
            ((shown,), shown.shape[-1]),
            ((seen, shown), seen.shape[-1] + shown.shape[-1]),
        )
    ]
    assert len(rows[0]) == len(rows[1]) == len(rows[2])


@pytest.mark.parametrize(
    "name", ["combination-lock", "commit", "gauntlet", "lights-out", "workshop"]
)
def test_text_holds_the_whole_level(name):
    env = envs.make(name)
    levels = raw_levels(env, 4, 20)

    def first(level):
        return env.draw(level, env.reset(jax.random.key(0), level))

    pictures = np.asarray(jax.jit(jax.vmap(first), compiler_options=QUICK)(levels))
    for level, picture in zip(each(levels), pictures, strict=True):
        assert same(env.parse(tiles.text(picture)), jax.tree.map(jnp.asarray, level))


def test_what_has_no_tiles_is_said_in_words():
    env = envs.make("bandit", arms=2)
    level = bandit.Level(jnp.array([0.5, 0.25]))
    assert env.text(level, env.reset(jax.random.key(0), level)) == "@\n0: 0.500\n1: 0.250"
    env = envs.make("random-mdp", nodes=4, degree=1, reach=1, distance=1)
    level = jax.tree.map(lambda x: x[0], raw_levels(env, 0, 1))
    level = level.replace(
        target=level.target.at[0, 0].set(jnp.array([1, 3])),
        probability=level.probability.at[0, 0].set(jnp.array([0.25, 0.75])),
        start=jnp.int32(0),
    )
    lines = env.text(level, env.reset(jax.random.key(0), level)).splitlines()
    assert len(lines) == 4 and lines[0] == " 0 ->  1 25%  3 75%  @S"


@pytest.mark.parametrize(
    ("name", "fields", "message"),
    [
        ("combination-lock", {"shortest": 13}, "use 1 <= shortest <= stages"),
        ("combination-lock", {"dials": 1}, "dials 1: use 2 or more"),
        ("random-mdp", {"nodes": 20}, "raise nodes"),
        ("random-mdp", {"nodes": 6, "distance": 2, "reach": 3}, "raise nodes"),
        ("random-mdp", {"branches": 7}, "7 branches of an action, but 6 places"),
        ("bandit", {"arms": 1}, "arms 1: use 2 or more"),
        ("lights-out", {"buttons": 7}, "buttons 7: use 2 to 6"),
        ("lights-out", {"presses": 11}, "presses 11: use 1 to 10"),
        ("lights-out", {"lights": 8}, "8 lights of 3 colours show 6561 patterns.*use fewer"),
        ("commit", {"size": 1}, "size 1: use 2 or more"),
        ("commit", {"answers": 9}, "answers 9: use 2 to 8"),
        ("gauntlet", {"moments": 0}, "moments 0: use 1 or more"),
        ("gauntlet", {"spelling": 0}, "spelling 0: use 1 or more"),
        ("gauntlet", {"dials": 1}, "dials 1: use 2 to 8"),
        ("gauntlet", {"dials": 9}, "dials 9: use 2 to 8"),
        ("gauntlet", {"spelling": 2}, "12 moments of 2 tokens take 24 steps.*is 16; raise horizon"),
        ("workshop", {"items": 9}, "items 9: use 3 to 8"),
        ("workshop", {"items": 2}, "items 2: use 3 to 8"),
        ("workshop", {"memory": 0}, "memory 0: use 1 to 9"),
        ("workshop", {"thoughts": 0}, "thoughts 0: use 1 or more"),
        ("gauntlet", {"horizon": 11}, "take 12 steps, the horizon is 11; raise horizon, or lower"),
    ],
)
def test_impossible_sizes_are_refused(name, fields, message):
    with pytest.raises(ValueError, match=f"{name}.*{message}"):
        envs.make(name, **fields)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("combination-lock", "@.G", "1 x 3 tiles, this environment's are 5 x 13"),
        ("combination-lock", "@............\n" * 5, "needs exactly one 'G'"),
        ("combination-lock", "@.G..........\n" + ">............\n" * 4, "a stage without a way on"),
        ("lights-out", "@o\na^", "2 x 2 tiles, this environment's are 6 x 7"),
        ("lights-out", "@oooook\n" + "a......\n" * 5, r"shows no lights; use @ and then o\*2"),
        ("commit", "@...\n" * 4, "4 x 4 tiles, this environment's are 6 x 6"),
        ("commit", "@.....\n" + "......\n" * 5, "0 cells 'a' or 'b' or 'c' or 'd'"),
        ("gauntlet", "@.G\na..", "2 x 3 tiles, this environment's are 2 x 13"),
        ("gauntlet", "@............\na............", "has to end in 'G'"),
        ("gauntlet", "@...........G\n.............", "one moment has to be decisive"),
        ("workshop", "oG\no.", "2 x 2 tiles, this environment's are 9 x 10"),
        ("workshop", "oG........\n" * 7 + "@.........\n0.........", "shows 7 goals and 0 keys"),
        ("gauntlet", "@...........G\n.d...........", "needs 1 of the letters abc below it"),
    ],
)
def test_pictures_of_no_level_are_refused(name, text, message):
    with pytest.raises(ValueError, match=message):
        envs.make(name).parse(text)


# Hard by chance, long for the best. -----------------------------------------------------------
@pytest.mark.parametrize("name", sorted({*NAMES} - {"bandit"}))
def test_random_play_fails_where_the_best_takes_long(name):
    env = envs.make(name)
    levels = raw_levels(env, 6, 100)
    chance = functools.partial(random_return, horizon=16)
    play = jax.jit(jax.vmap(lambda x: chance(env.tabulate(x))), compiler_options=QUICK)
    assert play(levels).mean() < 0.12
    lengths = [steps_to_goal(plain(name, level)) for level in each(levels)]
    assert np.median(lengths) >= 5
    assert np.mean(np.array(lengths) <= 16) > 0.8
