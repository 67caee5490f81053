"""Every check of a family's conduct finds the twin that breaks it, and names method and remedy."""

import itertools
import random

import jax
import jax.numpy as jnp
import pytest

from envs.contract import examine, specimen
from envs.contract.specimen import Specimen
from envs.core import Outcome
from tests.envs.corridor import LOOK, Corridor, Level, State, fails, fault, paying, twin


def test_chance_from_elsewhere_is_found():
    count = itertools.count()
    twins = {
        "level": lambda self, key: Level(jnp.int32(next(count)), jnp.int32(random.randrange(24))),
        "reset": lambda self, key, level: State(level.start + next(count)),
        "observe": lambda self, level, state: jnp.array([next(count)], jnp.int32),
    }
    for method, function in twins.items():
        message = fails("agreement", twin(**{method: function}))
        assert message.startswith(f"{method} gives one result compiled and another plainly")
        assert "take chance from the key" in message


def test_a_wrong_rule_for_batches_is_found():
    @jax.custom_batching.custom_vmap
    def shown(cell):
        return cell[None]

    @shown.def_vmap
    def rule(size, batched, cell):
        return jnp.zeros((size, 1), jnp.int32), True

    message = fails("agreement", twin(observe=lambda self, level, state: shown(state.cell)))
    assert message.startswith("observe gives another result under jax.vmap") and "mend" in message


def test_rounding_of_fractions_is_no_fault():
    def observe(self, level, state):
        traced = isinstance(state.cell, jax.core.Tracer)
        return state.cell.astype(jnp.float32)[None] / 3 * (1 + 1e-6 * traced)

    family = twin(observe=observe, observation_dtype="float32")
    LOOK["agreement"](Specimen(family))
    doubled = twin(observe=lambda *a: observe(*a) * (1 + isinstance(a[2].cell, jax.core.Tracer)))
    assert fails("agreement", doubled).startswith("observe gives one result compiled")


def test_what_fails_only_without_jit_is_found():
    def observe(self, level, state):
        assert isinstance(state.cell, jax.core.Tracer), "only for tracers"
        return state.cell[None]

    message = fails("agreement", twin(observe=observe))
    assert "observe (test_check_conduct.py, line" in message and "only for tracers" in message


def test_what_is_kept_beyond_a_call_is_found():
    kept = []

    def observe(self, level, state):
        kept.append(state.cell)
        return kept[0][None]

    family = twin(observe=observe)
    found = [f for f in examine(family) if f.fault]
    assert found[0].check.name == "agreement"
    assert found[0].fault.startswith("observe (test_check_conduct.py, line")
    assert "beyond the call" in found[0].fault and "return it in the level" in found[0].fault
    assert len({f.fault for f in found}) == len(found)  # what is wrong once is said once


def test_a_second_program_is_found():
    # A Python number in the first state has a weaker type than what step makes of it.
    message = fails("one program", twin(reset=lambda self, key, level: State(0)))
    assert message.startswith("reset puts a Python number into the state's cell")
    assert "jnp.int32(...)" in message


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda old, new: new, "moves"),
        (lambda old, new: old.replace(timestep=old.timestep.replace(reward=1.0)), "pays"),
    ],
)
def test_an_episode_that_does_not_freeze_is_found(monkeypatch, change, said):
    """No family can break this by its methods: the core is broken in their place."""
    right = specimen.advance

    def advance(env, key, level, episode, action):
        after = right(env, key, level, episode, action)
        thawed = episode.replace(
            timestep=episode.timestep.replace(terminated=False, truncated=False)
        )
        moved = right(env, key, level, jax.tree.map(jnp.asarray, thawed), action)
        moved = jax.tree.map(jnp.asarray, change(after, moved))
        over = episode.timestep.last
        return jax.tree.map(lambda a, b: jnp.where(over, a, b).astype(b.dtype), moved, after)

    monkeypatch.setattr(specimen, "advance", advance)
    message = fails("episodes", twin())
    assert message.startswith(f"advance {said}") and "envs.core" in message


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            twin(observe=lambda self, level, state: state.cell[None] + 1),
            ("observe shows symbol 24 in field 0", "0 to 23", "raise num_symbols"),
        ),
        (
            twin(observe=lambda self, level, state: state.cell[None] - 1),
            ("observe shows symbol -1", "mend observe"),
        ),
        (paying(lambda won: 10.0 * won.astype(jnp.float32)), ("step pays 10", "[-1, 1]", "scale")),
        (paying(lambda won: 0.0 / won.astype(jnp.float32)), ("step pays nan", "finite")),
    ],
)
def test_what_is_out_of_range_is_found(family, parts):
    fault("ranges", family, parts)


def test_a_random_start_is_found():
    message = fails(
        "start", twin(reset=lambda self, key, level: State(jax.random.randint(key, (), 0, 24)))
    )
    assert message.startswith("reset draws the state's cell") and "draw it in level" in message


class Clocked(Corridor):
    """Its state holds more than its number."""

    def reset(self, key, level):
        return Level(level.start, jnp.int32(0))

    def step(self, key, level, state, action):
        after, reward, over = super().step(key, level, State(state.start), action)
        return Outcome(Level(after.cell, state.goal + 1), reward, over)

    def observe(self, level, state):
        return state.start[None]

    def encode(self, level, state):
        return state.start

    def decode(self, level, index):
        return Level(index, jnp.int32(0))


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (
            twin(decode=lambda self, level, index: State(23 - index)),
            ("encode(decode(0)) is 23", "decode has to be the inverse"),
        ),
        (
            twin(num_states=12),
            ("encode gives a state the number", "num_states is 12"),
        ),
        (Clocked, ("decode(encode(state)) loses the state's goal", "num_states")),
    ],
)
def test_numbers_that_do_not_stand_for_states_are_found(family, parts):
    fault("codes", family, parts)


class Slippery(Corridor):
    """With probability 1/4 nothing happens; it does not say so."""

    def step(self, key, level, state, action):
        moved = super().step(key, level, state, action)
        stays = jax.random.bernoulli(key, 0.25)
        still = Outcome(state, jnp.float32(0.0), jnp.zeros((), bool))
        return jax.tree.map(lambda a, b: jnp.where(stays, a, b), still, moved)


def listing(*probabilities, shift=0):
    """Slippery that says so: (moves, stays) with these probabilities, moving further on."""

    def outcomes(self, level, state, action):
        moved = Corridor.step(self, None, level, state, action)
        still = Outcome(state, jnp.float32(0.0), jnp.zeros((), bool))
        after = State((moved.state.cell + shift) % self.length)
        both = jax.tree.map(lambda *x: jnp.stack(x), moved._replace(state=after), still)
        return jnp.array(probabilities), both

    return type("Listing", (Slippery,), {"outcomes": outcomes})


def test_a_table_of_chance_can_be_right():
    LOOK["table"](Specimen(listing(0.75, 0.25)))


@pytest.mark.parametrize(
    ("family", "parts"),
    [
        (Slippery, ("step uses its key, but outcomes is not defined", "`def outcomes(")),
        (listing(0.75, 0.15), ("outcomes", "sum to 0.9", "have to sum to 1")),
        (listing(0.75, 0.25, shift=1), ("outcomes does not list what step did in state",)),
        (listing(0.5, 0.5), ("outcomes gives an outcome", "probability 0.500", "one distribution")),
        (
            twin(
                tabulate=lambda self, level: Corridor.tabulate(self, level).replace(
                    target=jnp.full((24, 2, 1), 24)
                )
            ),
            ("tabulate leads to state 24", "num_states is 24"),
        ),
    ],
)
def test_a_table_that_is_not_step_is_found(family, parts):
    fault("table", family, parts)
