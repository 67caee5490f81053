"""Our side of training: one model's updates, its batch spread over devices.

What runs is ``Program.update`` and ``Program.contexts`` alone; how they are placed is in
``placed``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from agents.tokens import Steps
from agents.transformer import ModelConfig
from envs.keys import new_key
from experiments import suite as suite_lib
from experiments.bench.clock import compiled
from experiments.bench.machine import spread
from experiments.bench.sizes import Model
from experiments.presets import QUICK
from icl.arms import Arm
from icl.contexts import Context
from icl.train import Numbers, Program, Run, TrainConfig, TrainState, initial

HORIZON = 32  # steps of a slot; a context has as many slots as its length holds
LEVELS = 64  # training levels of each family


@dataclasses.dataclass(frozen=True)
class Training:
    """One model, ready to be trained.

    Attributes:
        program: its compiled part.
        state: fresh.
        run: what it trains on.
        model: its sizes.
    """

    program: Program
    state: TrainState
    run: Run
    model: Model

    @property
    def interface(self) -> dict[str, int]:
        """Fields, symbols and actions of a token, as a rival's ``setup`` takes them."""
        env = self.run.levels[0].env
        sizes = ("fields", "symbols", "actions")
        return {name: getattr(env, f"num_{name}") for name in sizes}

    @property
    def parameters(self) -> int:
        """How many."""
        return sum(x.size for x in jax.tree.leaves(self.state.parameters))

    @property
    def tokens(self) -> int:
        """Positions of an update."""
        return self.model.length * self.model.batch

    @property
    def operations(self) -> float:
        """Floating-point operations of an update, by formula: of each token, 6 for each weight of
        the blocks and the head, 4 for each of the embedding (nothing lies before it that wants a
        gradient) and 6 d T in each layer for the half of the attention that is not masked."""
        model, face = self.model, self.interface
        features = 2 * face["fields"] * face["symbols"] + face["actions"] + 4
        weights = 12 * model.width**2 * model.layers + model.width * face["actions"]
        attention = 6 * model.width * model.length * model.layers
        return float(self.tokens) * (6 * weights + 4 * features * model.width + attention)


def make(model: Model, families: tuple[str, ...]) -> Training:
    """A model on families wrapped as in preset quick; contexts are as long as the model's."""
    slots = max(model.length // HORIZON, 1)
    config = dataclasses.replace(
        QUICK,
        families=families,
        test_families=(),
        horizon=min(HORIZON, model.length),
        slots=slots,
        contexts=model.batch,
        train_levels=LEVELS,
        levels=16,
    )
    suite = suite_lib.build(config)
    levels = suite_lib.draw(config, suite, 0).train
    shapes = TrainConfig(slots=slots, levels=model.batch // len(families))
    body = ModelConfig(model.width, model.layers, model.heads)
    program, state = initial(body, suite.interface, new_key(0), shapes)
    return Training(program, state, Run(Arm(), Numbers(), levels), model)


def random_context(model: Model, face: dict[str, int], seed: int = 0) -> Context:
    """Context[B, T] of random steps, all valid, behind an interface of ``fields``, ``symbols`` and
    ``actions``: the work of an update does not depend on what they are."""
    dice = np.random.default_rng(seed)
    shape = (model.batch, model.length)
    seen = (*shape, face["fields"])
    return Context(
        steps=Steps(
            observation=jnp.asarray(dice.integers(0, face["symbols"], seen), jnp.int32),
            action=jnp.asarray(dice.integers(0, face["actions"], shape), jnp.int32),
            reward=jnp.asarray(dice.random(shape), jnp.float32),
            terminated=jnp.asarray(dice.random(shape) < 0.1),
            successor=jnp.asarray(dice.integers(0, face["symbols"], seen), jnp.int32),
            start=jnp.asarray(dice.random(shape) < 0.1),
            cut=jnp.asarray(dice.random(shape) < 0.1),
        ),
        valid=jnp.ones(shape, bool),
        query=jnp.ones(shape, bool),
        source=jnp.arange(model.batch * model.length, dtype=jnp.int32).reshape(shape),
        slot=jnp.asarray([[0, model.length]] * model.batch, jnp.int32),
    )


def placed(
    training: Training, devices: int, updates: int = 1, *, generated: bool = False
) -> tuple[Callable[[], TrainState], float]:
    """A function that goes on training, and the seconds of its compilation.

    Args:
        training: the model.
        devices: over which the batch is spread; parameters are on each of them.
        updates: in one compiled program, a scan if they are several.
        generated: whether the levels are drawn, solved and played in that program; else there is
            a batch for each update already.
    """
    rows = spread(devices)
    whole = NamedSharding(rows.mesh, PartitionSpec())
    program = training.program

    def one(state: TrainState, run: Run, context: Context) -> TrainState:
        return program.update(state, run, context)[0]

    def many(state: TrainState, run: Run, contexts: Context) -> TrainState:
        return jax.lax.scan(lambda s, c: (one(s, run, c), None), state, contexts)[0]

    def fresh(state: TrainState, run: Run) -> TrainState:
        def pool(state: TrainState, _: Any) -> tuple[TrainState, None]:
            contexts = program.contexts(jax.random.fold_in(state.key, state.step), run)
            batch = jax.tree.map(lambda x: x[0], contexts)
            spread_out = jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, rows), batch)
            return one(state, run, spread_out), None

        return jax.lax.scan(pool, state, length=updates)[0]

    if generated:
        step, given = fresh, ()
    elif updates == 1:
        batch = random_context(training.model, training.interface)
        step, given = one, (jax.device_put(batch, rows),)
    else:
        batches = [random_context(training.model, training.interface, i) for i in range(updates)]
        stacked = jax.tree.map(lambda *x: jnp.stack(x), *batches)
        second = NamedSharding(rows.mesh, PartitionSpec(None, *rows.spec))
        step, given = many, (jax.device_put(stacked, second),)
    shared = jax.device_put(training.run, whole)
    # A copy, for its buffers are given away.
    box = [jax.device_put(jax.tree.map(jnp.copy, training.state), whole)]
    made, seconds = compiled(step, box[0], shared, *given, donate_argnums=0, out_shardings=whole)

    def go() -> TrainState:
        box[0] = made(box[0], shared, *given)
        return box[0]

    return go, seconds
