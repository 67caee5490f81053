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
from experiments.config import preset
from icl.arms import named
from icl.contexts import Context
from icl.train import Numbers, Run, TrainConfig, TrainState, initial

CONTEXTS = "contexts of one update"
UPDATE = "the whole update, fused"
BARE = "the update alone"
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

    generate, generating = compiled(program.contexts, fresh(), run)
    context: Context = generate(fresh(), run)
    valid = float(context.valid.sum())
    pools = sizes.updates
    chunk, chunking = compiled(lambda s, r: program.chunk(s, r, pools)[0], state, run)
    first = jax.tree.map(lambda x: x[0], context)
    bare, baring = compiled(lambda s, r, c: program.update(s, r, c)[0], state, run, first)

    def train() -> TrainState:
        return chunk(state, run)

    name = f"{len(config.families)} families, {config.contexts} contexts of {config.slots} x "
    setting = f"preset {config.preset}"
    what = f"{name}{config.horizon} steps; levels generated, solved, played by the oracle, arranged"
    yield Race(
        CONTEXTS,
        setting,
        config.contexts,
        "transitions",
        (
            Side(OURS, what, valid, timed(lambda: generate(fresh(), run)), generating),
            Side(f"{OURS}, {UPDATE}", f"{pools} in one program, contexts included; one device",
                 valid * pools, timed(train), chunking),
            Side(f"{OURS}, {BARE}", "on a batch that is there already; one device",
                 valid, timed(lambda: bare(state, run, first)), baring),
        ),
        alike=False,
    )  # fmt: skip
    for family, env in suite.train.items():

        def admit(env=env) -> jax.Array:
            return draw_levels(env, fresh(), sizes.admitted, split="train").ids

        what = "admitted levels a second: drawn, solved exactly, fingerprinted, told apart"
        side = Side(OURS, what, sizes.admitted, timed(admit))
        yield Race(f"{ADMISSION}, {family}", f"{sizes.admitted} levels", 0, "levels", (side,))
