"""Part ``scale``: how the costs grow, one size at a time around one model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from agents.transformer import ModelConfig
from envs.keys import new_key
from envs.levels import draw_levels
from experiments import suite as suite_lib
from experiments.bench import child, training
from experiments.bench.clock import OURS, Cell, Race, Side, compiled, first_line, timed
from experiments.bench.peer import PeerError, Peers
from experiments.bench.sizes import Sizes
from experiments.presets import QUICK
from icl.actor import ModelActor
from icl.arms import Arm
from icl.demonstrations import show
from icl.evaluate import EvaluateConfig, evaluate
from icl.train import TrainConfig, initial

LEVELS = "levels admitted"
LENGTH = "context length"
DEMOS = "demonstrations"
WIDTH = "width"
DEVICES = "virtual CPU devices"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """Every size of every kind: a race is one point of a curve."""
    yield from _levels(sizes)
    model = sizes.scale_model
    for length in sizes.scale_lengths:
        yield _update(LENGTH, "T", length, dataclasses.replace(model, length=length))
    yield from _demos(sizes)
    for width in sizes.scale_widths:
        heads = max(width // 32, 1)
        yield _update(WIDTH, "d", width, dataclasses.replace(model, width=width, heads=heads))
    yield from _devices(sizes)


def slopes(cells: Sequence[Cell]) -> dict[str, float]:
    """Of each kind, the exponent of its power law: the slope of the logarithm of the median over
    the logarithm of the size, by least squares."""
    found = {}
    for work in dict.fromkeys(cell.work for cell in cells):
        points = [(c.size, c.median) for c in cells if c.work == work and c.median and c.size]
        if len(points) >= 2:
            x, y = np.log(np.asarray(points)).T
            found[work] = float(np.polyfit(x, y, 1)[0])
    return found


def _levels(sizes: Sizes) -> Iterator[Race]:
    config = dataclasses.replace(QUICK, families=("key-door",), test_families=(), contexts=16)
    env = suite_lib.build(config).train["key-door"]
    number = [0]

    def draw(count: int) -> jax.Array:
        number[0] += 1
        return draw_levels(env, new_key(number[0]), count, split="train").ids

    for count in sizes.scale_levels:
        side = Side(OURS, "key-door as in quick", count, timed(lambda n=count: draw(n)))
        yield Race(LEVELS, f"n = {count:,}", count, "levels", (side,))


def _update(work: str, letter: str, size: int, model) -> Race:
    made = training.make(model, ("dark-room",))
    count = max(d for d in range(1, len(jax.devices()) + 1) if model.batch % d == 0)
    go, seconds = training.placed(made, count)
    what = f"an update, {model.name}, on {count} device{'s' * (count > 1)}"
    side = Side(OURS, what, made.tokens, timed(go), seconds, made.operations)
    return Race(work, f"{letter} = {size:,}", size, "tokens", (side,))


def _demos(sizes: Sizes) -> Iterator[Race]:
    """A k-shot test with K demonstrations: k runs from 0 to K, both ways of acting."""
    for demos in sizes.scale_demos:
        config = dataclasses.replace(
            QUICK, families=("dark-room",), test_families=(), slots=demos + 1, demos=demos,
            contexts=16, levels=16, train_levels=64,
        )  # fmt: skip
        suite = suite_lib.build(config)
        families = suite_lib.draw(config, suite, 0).test
        body = ModelConfig(config.width, config.layers, config.heads)
        shapes = TrainConfig(slots=config.slots)
        program, state = initial(body, suite.interface, new_key(0), shapes)
        shown = jax.jit(lambda f, d=demos: show(new_key(1), Arm(), f, count=16, demos=d))(families)
        shape = EvaluateConfig(levels=16, demos=demos)
        actor = ModelActor(state.parameters, program.graph)
        test, seconds = compiled(
            lambda a, f, s, shape=shape: evaluate(a, shape, new_key(2), f, s),
            actor,
            families,
            shown,
        )
        run = timed(lambda t=test, a=actor, f=families, s=shown: t(a, f, s))
        what = "a test of quick's model in dark-room, 16 seen and 16 unseen levels"
        side = Side(OURS, what, 0, run, seconds)
        yield Race(DEMOS, f"K = {demos}", demos, "tests", (side,))


def _devices(sizes: Sizes) -> Iterator[Race]:
    """Children with more and more devices, which take turns."""
    model = dataclasses.asdict(sizes.scale_model)
    for count in sizes.scale_devices:
        with contextlib.ExitStack() as stack:
            what = f"an update, {sizes.scale_model.name}, in a process with {count} devices"
            try:
                peer = stack.enter_context(child.spawn(count))
                seconds = peer.ask("setup", **model)["compile"]
                tokens = sizes.scale_model.length * sizes.scale_model.batch
                side = Side(OURS, what, tokens, peer.run, seconds)
            except PeerError as error:
                side = Side(OURS, what, 0, None, reason=first_line(error))
            yield Race(DEVICES, f"{count} devices", count, "tokens", (side,))
