"""Families without a grid: what their levels are drawn from, what makes two of them one problem,
and what the first steps do in levels written by hand."""

import functools
import itertools
from collections import Counter, defaultdict

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import envs
from envs import tiles
from envs.core import advance, begin
from envs.families import bandit, random_mdp
from envs.oracle import optimal_return, random_return
from tests.envs.chances import DRAWS, draw, even, pairs, share
from tests.envs.reference import plain, steps_to_goal
from tests.envs.test_fingerprints import canonical_grid, stacked
from tests.envs.worlds import QUICK, each, raw_levels, same

NAMES = ("bandit", "combination-lock", "commit", "lights-out", "random-mdp")

BEGIN = jax.jit(begin, compiler_options=QUICK)
ADVANCE = jax.jit(advance, compiler_options=QUICK)
PRINT = jax.jit(lambda env, x: jax.vmap(env.fingerprint)(x), compiler_options=QUICK)


def prints(env, levels) -> list[tuple]:
    return [tuple(row) for row in np.asarray(PRINT(env, levels)).tolist()]


def fits(seen: Counter, expected: dict) -> None:
    """Asserts that values counted in ``seen`` come with the probabilities ``expected``."""
    assert set(seen) <= set(expected)
    counts = np.array(list(expected.values())) * seen.total()
    assert counts.min() > 5 and counts.sum() == pytest.approx(seen.total())
    assert stats.chisquare([seen[value] for value in expected], counts).pvalue > 1e-4


# The levels that the docstrings promise. ------------------------------------------------------
def dials(stage: int, density: float) -> dict[tuple, float]:
    """The probability of every row of three dials at a stage."""
    ways = {stage + 1: 1 - density}
    for back in (0, max(stage - 1, 0)):
        ways[back] = ways.get(back, 0) + density / 2
    found = defaultdict(float)
    for right, one, two in itertools.product(range(3), ways, ways):
        row = [one, two]
        row.insert(right, stage + 1)
        found[tuple(row)] += ways[one] * ways[two] / 3
    return dict(found)


def test_combination_locks():
    drawn = draw("combination-lock", stages=4, dials=3, shortest=2, density=0.6)
    leads, goal = drawn["leads"], drawn["goal"]
    even(goal, {2, 3, 4})
    for stage in range(4):
        there = goal > stage
        assert (leads[~there, stage] == 0).all()
        fits(Counter(map(tuple, leads[there, stage].tolist())), dials(stage, 0.6))
    both = itertools.product(dials(0, 0.6).items(), dials(1, 0.6).items())
    joint = {(*one, *two): p * q for (one, p), (two, q) in both}
    fits(Counter(map(tuple, leads[:, :2].reshape(DRAWS, 6).tolist())), joint)


@pytest.mark.parametrize("branches", [2, 3])
def test_random_mdps(branches):
    nodes, distance = 9, 3
    drawn = draw(
        "random-mdp", nodes=nodes, reach=2, distance=distance, branches=branches, density=0.25
    )
    target, chance = drawn["target"], drawn["probability"]
    even(drawn["start"], range(nodes))
    even((drawn["goal"] - drawn["start"]) % nodes, range(distance, nodes - distance + 1))
    hops = (target - np.arange(nodes)[:, None, None]) % nodes
    blocked = (hops == 0).all(-1)
    share(blocked.reshape(DRAWS, -1), 0.25)
    assert (chance[blocked] == np.eye(branches)[0]).all()
    orders = itertools.permutations((1, 2, nodes - 2, nodes - 1), branches)
    known = {order: i for i, order in enumerate(orders)}
    for node, action in ((0, 0), (5, 3)):
        free = ~blocked[:, node, action]
        even(
            np.array([known[tuple(h)] for h in hops[free, node, action].tolist()]),
            range(12 * (branches - 1)),
        )
        parts = chance[free, node, action]
        assert np.allclose(parts.sum(1), 1, atol=1e-6)
        for part in parts.T:  # of a stick broken at uniform places
            assert stats.kstest(part, stats.beta(1, branches - 1).cdf).pvalue > 1e-4
    neighbours = chance[~(blocked[:, 0, 0] | blocked[:, 1, 0])][:, :2, 0, 0]
    assert abs(np.corrcoef(neighbours.T)[0, 1]) < 5 / np.sqrt(len(neighbours))


def test_bandits():
    payoff = draw("bandit", arms=3, density=0.4)["payoff"]
    duds = payoff == 0
    odds = {dud: 0.4 ** sum(dud) * 0.6 ** (3 - sum(dud)) for dud in np.ndindex(2, 2, 2)}
    fits(Counter(map(tuple, duds.astype(int).tolist())), odds)
    assert payoff.min() >= 0 and payoff.max() < 1
    even((payoff[~duds] * 20).astype(int), range(20))
    paying = payoff[~duds.any(1)]
    even((paying[:, 0] * 5).astype(int) * 5 + (paying[:, 1] * 5).astype(int), range(25))


def press(wires: tuple, counts: tuple, colours: int) -> tuple:
    """The lights, off at first, after pressing every button so many times."""
    return tuple(
        sum(count * row[light] for count, row in zip(counts, wires, strict=True)) % colours
        for light in range(len(wires[0]))
    )


@pytest.mark.parametrize(("colours", "presses"), [(2, 2), (3, 3)])
def test_lights_out(colours, presses):
    lights, density = 3, 0.3
    drawn = draw(
        "lights-out", lights=lights, buttons=2, colours=colours, presses=presses, density=density
    )
    rows = defaultdict(float)
    for own, wired in itertools.product(range(lights), np.ndindex(2, 2)):
        row = list(wired)
        row.insert(own, 1)
        rows[tuple(row)] += density ** sum(wired) * (1 - density) ** (2 - sum(wired)) / lights
    expected = defaultdict(float)
    for wires in itertools.product(rows, repeat=2):
        cost = {}
        for counts in sorted(np.ndindex(colours, colours), key=sum, reverse=True):
            # Pressing on to a whole turn of every button puts the lights out.
            cost[press(wires, tuple(-c % colours for c in counts), colours)] = sum(counts)
        starts = [lit for lit in cost if cost[lit] >= min(presses, max(cost.values()))]
        for start in starts:
            expected[wires, start] += rows[wires[0]] * rows[wires[1]] / len(starts)
    seen = zip(drawn["wires"].tolist(), drawn["start"].tolist(), strict=True)
    fits(Counter((tuple(map(tuple, wires)), tuple(start)) for wires, start in seen), expected)


def test_commit():
    drawn = draw("commit", size=3, answers=4, density=0.2)
    walls, start, clue, answer = (drawn[name] for name in ("walls", "start", "clue", "answer"))
    rows = np.arange(DRAWS)
    fine = (~walls).sum(1) >= 2  # almost always; else there are no two free cells
    assert fine.mean() > 0.999
    assert not walls[rows, start][fine].any() and not walls[rows, clue][fine].any()
    even(pairs(start, clue, 9) * 4 + answer, range(72 * 4))
    share(walls, 0.2)
    rank = np.cumsum(~walls, axis=1) - 1
    some = (~walls).sum(1) == 7
    even(pairs(rank[rows, start][some], rank[rows, clue][some], 7), range(42))


# Problems that are one. -----------------------------------------------------------------------
def canonical_lock(level) -> tuple:
    columns = level.leads.T.tolist()
    return min(itertools.permutations(map(tuple, columns))), int(level.goal)


def canonical_lights(level) -> tuple:
    """The smallest list of the lights, each with its colour and its buttons, over the orders of the
    buttons."""
    rows = level.wires.tolist()
    return min(
        tuple(sorted(zip(level.start.tolist(), *order, strict=True)))
        for order in itertools.permutations(rows)
    )


@pytest.mark.parametrize(
    ("name", "sizes", "canonical"),
    [
        ("combination-lock", {"stages": 4, "dials": 3, "shortest": 1}, canonical_lock),
        ("lights-out", {"lights": 3, "buttons": 3, "presses": 3}, canonical_lights),
        ("commit", {"size": 3}, lambda level: canonical_grid(level, "start clue", True)),
    ],
)
def test_equal_prints_mean_equal_problems(name, sizes, canonical):
    env = envs.make(name, **sizes)
    levels = raw_levels(env, 0, 4000)
    found, forms = prints(env, levels), [canonical(level) for level in each(levels)]
    both = set(zip(found, forms, strict=True))
    assert len(both) == len(set(found)) == len(set(forms))
    assert 50 < len(both) < 3500


def test_arms_in_another_order_are_the_same_bandit():
    payoffs = np.array(list(itertools.product((0.0, 0.25, 0.75), repeat=4)), np.float32)
    env = envs.make("bandit", arms=4)
    found = prints(env, bandit.Level(jnp.asarray(payoffs)))
    both = set(zip(found, map(tuple, np.sort(payoffs).tolist()), strict=True))
    assert len(both) == len(set(found)) == 15  # multisets of four out of three


def test_a_random_mdp_turned_and_renamed_is_the_same():
    rng, nodes = np.random.default_rng(0), 11
    env = envs.make("random-mdp", nodes=nodes, distance=3, branches=3)
    levels = raw_levels(env, 1, 60)
    turned, others = [], []
    for level in each(levels):
        where = (rng.choice([1, -1]) * np.arange(nodes) + rng.integers(nodes)) % nodes
        branch = rng.permuted(np.tile(np.arange(3), (nodes, 4, 1)), axis=-1)
        action = rng.permuted(np.tile(np.arange(4), (nodes, 1)), axis=-1)[..., None]

        def moved(part, where=where, branch=branch, action=action):
            renamed = np.take_along_axis(np.take_along_axis(part, branch, -1), action, 1)
            return renamed[np.argsort(where)]

        turned.append(
            level.replace(
                target=moved(where[level.target].astype(np.int32)),
                probability=moved(level.probability),
                start=np.int32(where[int(level.start)]),
                goal=np.int32(where[int(level.goal)]),
            )
        )
        changed = level.probability.copy()
        changed[rng.integers(nodes), rng.integers(4)] *= 0.5
        others.append(level.replace(probability=changed))
    again, changed = (
        prints(env, jax.tree.map(lambda *x: np.stack(x), *some)) for some in (turned, others)
    )
    found = prints(env, levels)
    assert again == found
    assert len(set(found) | set(changed)) == 120


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
    assert steps_to_goal(plain("lights-out", each(stacked(level))[0])) == 4


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
    assert [reward for _, reward, _ in steps] == [0, *([1, 0, 1] * 6)[:16], 0, 0]
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
def test_references_of_a_bandit_are_sums():
    env = envs.make("bandit")
    levels = raw_levels(env, 2, 64)

    def both(level):
        table = env.tabulate(level)
        return random_return(table, 16), optimal_return(table, 16)

    random, best = jax.jit(jax.vmap(both), compiler_options=QUICK)(levels)
    payoff = np.asarray(levels.payoff, np.float64)
    assert np.allclose(random, 16 * payoff.mean(1), atol=2e-5)
    assert np.allclose(best, 16 * payoff.max(1), atol=2e-5)


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


@pytest.mark.parametrize("name", ["combination-lock", "commit", "lights-out"])
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
