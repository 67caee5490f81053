"""A number that is not finite ends a run by name, and gets into no checkpoint and no result."""

import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import checkpoint
from envs.keys import new_key
from experiments import compare, fault
from experiments.positions import numbers
from icl.train import Program
from tests.faults.runs import TINY, again, job, updates

RUN_KEY = new_key(0)
PLACES = ("loss", "gradient", "parameters", "data")
NAMES = {
    "loss": "the loss is nan",
    "gradient": "the gradient is nan",
    "parameters": "the norm of the parameters is nan",
    "data": "the data hold a number that is not finite",
}


class Planted(Program):
    """A program in which one update goes wrong in one place. Which says a number that imitation
    does not read, so that all cases are one compiled program: 4 * update + place."""

    def _here(self, state, run, place):
        code = run.numbers.head_start
        return (code // 4 == state.step) & (code % 4 == PLACES.index(place))

    def update(self, state, run, context):
        def poisoned(place, tree):
            wrong = jnp.where(self._here(state, run, place), jnp.nan, 0.0)
            return jax.tree.map(lambda x: x + wrong.astype(x.dtype), tree)

        def gradient(parameters, context):
            (loss, right), found = Program.gradient(self, parameters, context)
            return (poisoned("loss", loss), right), poisoned("gradient", found)

        object.__setattr__(self, "gradient", gradient)  # the dataclass is frozen
        try:
            state, metrics = super().update(state, run, context)
        finally:
            object.__delattr__(self, "gradient")
        before = state.replace(step=state.step - 1)
        wrong = jnp.where(self._here(before, run, "parameters"), jnp.nan, 0.0)
        parameters = jax.tree.map(lambda x: x + wrong, state.parameters)
        weights = metrics.weights + wrong
        return state.replace(parameters=parameters), metrics.replace(weights=weights)

    def contexts(self, key, run, stored=None):
        made = super().contexts(key, run, stored)
        # The batch's key is all that it knows of the update: it is looked up.
        code = run.numbers.head_start
        own = jax.vmap(lambda n: jax.random.key_data(jax.random.fold_in(RUN_KEY, n)))(
            jnp.arange(TINY.updates)
        )
        step = jnp.argmax((own == jax.random.key_data(key)).all(-1))
        here = (code // 4 == step) & (code % 4 == PLACES.index("data"))
        reward = made.steps.reward + jnp.where(here, jnp.nan, 0.0)
        return made.replace(steps=made.steps.replace(reward=reward))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A run whose programs and levels all others share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compare, "PROGRAMS", {"imitation": Planted})
        return job(tmp_path_factory.mktemp("base") / "run")


@pytest.fixture
def planted(base, tmp_path):
    """planted(update, place) -> a run that goes wrong there."""

    def make(update: int, place: str):
        made = again(base, tmp_path / f"{update}")

        def run(cell, levels=None):
            found = base.run(cell, levels)
            code = jnp.float32(4 * update + PLACES.index(place))
            return found.replace(numbers=found.numbers.replace(head_start=code))

        made.run = run
        return made

    return make


def finite(path: Path) -> bool:
    """Whether all in a run's folder is."""
    for place in path.glob("training/*"):
        for number in numbers(place):
            checkpoint.verify(place / str(number))
            with checkpoint._alone() as reader:
                found = reader.restore(place / str(number) / "arrays")
            if checkpoint.unbounded(found):
                return False
    text = "".join(x.read_text() for x in path.rglob("*.json*") if "training" not in x.parts)
    return "NaN" not in text and "Infinity" not in text and '"loss": null' not in text


def goes_wrong(made, update: int, place: str) -> list[str]:
    """What is not as it ought to be when a run meets the planted number."""
    path, found = made.folder.path, []
    try:
        compare.run(made)
        return ["nothing was raised"]
    except FloatingPointError as error:
        message = str(error)
    if NAMES[place] not in message or f"at update {update};" not in message:
        found.append(message)
    told = json.loads((path / f"faults/bursty-seed0-{update}.json").read_text())
    if (told["update"], told["place"].replace("weights", "parameters")) != (update, place):
        found.append(str(told))
    key = jax.random.fold_in(RUN_KEY, update)
    if told["key"] != np.asarray(jax.random.key_data(key)).tolist():
        found.append("another key")
    before = update - update % TINY.report_every
    if updates(path) != [*range(TINY.report_every, before + 1, TINY.report_every)]:
        found.append(f"metrics of {updates(path)}")
    saved = numbers(path / "training/bursty-seed0")
    if max(saved, default=0) != before:
        found.append(f"checkpoints of {saved}")
    if not finite(path):
        found.append("something that is not finite was kept")
    if any(path.glob("cells/*")) or (path / "results.json").exists():
        found.append("there is a result")
    return found


FEW = (0, 3, 4, 10, 19)


@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_finite_ends_the_run(planted, place):
    for update in FEW:
        assert (update, goes_wrong(planted(update, place), update, place)) == (
            update,
            [],
        )


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_at_every_update(planted, place):
    for update in range(TINY.updates):
        assert (update, goes_wrong(planted(update, place), update, place)) == (
            update,
            [],
        )


def test_the_batch_is_made_again(planted):
    made = planted(10, "loss")
    with pytest.raises(FloatingPointError):
        compare.run(made)
    again = fault.batch(made, ("bursty", 0), 10)
    run = made.run(("bursty", 0))
    whole = jax.jit(Program.contexts, static_argnums=0)(
        made.program, jax.random.fold_in(RUN_KEY, 10), run
    )
    jax.tree.map(lambda x, y: np.testing.assert_array_equal(x, y[0]), again, whole)


def test_twin_that_looks_at_nothing_is_found(planted, monkeypatch):
    monkeypatch.setattr(fault, "refuse", lambda *_: None)
    monkeypatch.setattr(checkpoint, "unbounded", lambda tree: "")
    monkeypatch.setattr(compare.Wave, "_tests", lambda *_: [])
    made = planted(10, "gradient")

    def stop(*_):
        raise FloatingPointError("the test is not reached")

    monkeypatch.setattr(made, "test", stop)
    with pytest.raises(FloatingPointError, match="the test"):
        compare.run(made)
    assert not finite(made.folder.path)


def test_a_checkpoint_looks_for_itself(planted, monkeypatch):
    """Where the metrics did not show it, what is to be saved does."""
    monkeypatch.setattr(fault, "refuse", lambda *_: None)
    with pytest.raises(FloatingPointError, match=r"is not saved: .* is not finite"):
        compare.run(planted(10, "gradient"))


def test_pools_have_one_key(monkeypatch, tmp_path):
    config = dataclasses.replace(TINY, pool=2)
    monkeypatch.setattr(Program, "loss", lambda *_: (jnp.float32(jnp.nan), jnp.float32(0)))
    with pytest.raises(FloatingPointError, match="the loss is nan at update 0"):
        compare.run(job(tmp_path / "run", config))
