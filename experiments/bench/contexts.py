"""Part ``contexts``: level generation, solving, expert play and arrangement, and their share of
the update that they feed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import jax

from agents.transformer import ModelConfig
from envs.keys import new_key
from envs.levels import draw_levels
from experiments import suite as suite_lib
from experiments.bench.clock import OURS, Race, Side, compiled, timed
from experiments.bench.peer import Peers
from experiments.bench.sizes import Sizes
from experiments.presets import preset
from icl.arms import named
from icl.contexts import Context
from icl.train import Numbers, Run, TrainConfig, TrainState, initial

CONTEXTS = "contexts of updates"
UPDATE = "whole updates"
BARE = "updates alone"
ADMISSION = "level admission"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """The contexts, then what they are a share of, then the admission of levels."""
    config = dataclasses.replace(
        preset(sizes.preset), train_levels=sizes.admitted, test_families=()
    )
    suite = suite_lib.build(config)
    levels = suite_lib.draw(config, suite, 0).train
    shapes = TrainConfig(
        slots=config.slots, levels=config.contexts // len(config.families), pool=config.pool
    )
    body = ModelConfig(config.width, config.layers, config.heads)
    program, state = initial(body, suite.interface, new_key(0), shapes)
    run = Run(named(config.arms[0], config.chunk), Numbers(), levels)
    number = [0]

    def fresh() -> jax.Array:
        number[0] += 1
        return jax.random.fold_in(state.key, number[0])

    pools = sizes.updates

    def make(key: jax.Array, run: Run) -> Context:
        return jax.lax.map(lambda k: program.contexts(k, run), jax.random.split(key, pools))

    def again(state: TrainState, run: Run, contexts: Context) -> TrainState:
        return jax.lax.scan(lambda s, c: (program.update(s, run, c)[0], None), state, contexts)[0]

    generate, generating = compiled(make, fresh(), run)
    made: Context = jax.tree.map(lambda x: x[:, 0], generate(fresh(), run))
    valid = float(made.valid.sum())
    chunk, chunking = compiled(lambda s, r: program.chunk(s, r, pools)[0], state, run)
    bare, baring = compiled(again, state, run, made)

    def train() -> TrainState:
        return chunk(state, run)

    name = f"{len(config.families)} families, {config.contexts} contexts of {config.slots} x "
    setting = f"preset {config.preset}"
    what = f"{name}{config.horizon} steps; levels generated, solved, played by the oracle, arranged"
    yield Race(
        CONTEXTS,
        setting,
        config.contexts * pools,
        "transitions",
        (
            Side(OURS, f"{what}; {pools} times in one program",
                 valid, timed(lambda: generate(fresh(), run)), generating),
            Side(f"{OURS}, {UPDATE}", f"{pools} in one program, contexts included; one device",
                 valid, timed(train), chunking),
            Side(f"{OURS}, {BARE}", f"{pools} in one program, contexts there already; one device",
                 valid, timed(lambda: bare(state, run, made)), baring),
        ),
        alike=False,
    )  # fmt: skip
    for family, env in suite.train.items():

        def admit(env=env) -> jax.Array:
            return draw_levels(env, fresh(), sizes.admitted, split="train").ids

        what = "admitted levels a second: drawn, solved exactly, fingerprinted, told apart"
        side = Side(OURS, what, sizes.admitted, timed(admit))
        yield Race(f"{ADMISSION}, {family}", f"{sizes.admitted} levels", 0, "levels", (side,))
