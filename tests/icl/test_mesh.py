"""A run on many devices: what one device computes, within rounding, and really cut.

Rounding: devices add in another order than one does, 1e-7 a time, and Adam divides by what may be
as small, so that ten updates move a weight apart by up to a hundredth of what they move it by.
Measured: losses 5e-7, weights 5e-5 after moves of 2e-2.
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from agents import sharding
from agents.transformer import ModelConfig
from icl import train
from icl.arms import Arm, named
from icl.parallel import Layout, fetch, side_by_side, stack, unstack
from icl.train import Numbers, Run, TrainConfig, initial

NUMBERS = Numbers(learning_rate=3e-3, warmup=3.0, updates=10.0)
ARMS = (Arm(), named("isolated-chunks", chunk=5))
LAYOUTS = {
    "8 data": Layout(data=8),
    "8 data fsdp": Layout(data=8, fsdp=True),
    "4 data x 2 model": Layout(data=4, model=2),
    "2 run x 2 data x 2 model fsdp": Layout(data=2, model=2, fsdp=True, devices=8),
}
MODEL = ModelConfig(width=16, layers=1, heads=2)


@pytest.fixture(scope="module")
def make(world):
    """make(seed, model, **TrainConfig fields) -> (Program, TrainState)."""

    def program(seed: int = 0, model: ModelConfig = MODEL, **fields):
        shapes = TrainConfig(**{"slots": 3, "levels": 16, "pool": 2} | fields)
        return initial(model, world.face, jax.random.key(seed), shapes)

    return program


@pytest.fixture(scope="module")
def runs(world):
    """A bursty and an isolated run on the same levels."""
    return [Run(arm, NUMBERS, world.sticky[:1]) for arm in ARMS]


@pytest.fixture(scope="module")
def generate(make):
    """generate(key, run) -> Context[2, 16, 30] of two updates, on one device."""
    return jax.jit(make()[0].contexts)


@pytest.fixture(scope="module")
def contexts(generate, runs):
    """Of each run, Context[10, 16, 30]: two batches over and over."""
    made = [generate(jax.random.key(7), run) for run in runs]
    return [jax.tree.map(lambda x: jnp.concatenate([x] * 5), one) for one in made]


@pytest.fixture(scope="module")
def ten(make, runs, contexts):
    """ten(layout, count, …) -> the states of ``count`` runs on the devices after ten updates, and
    their losses float32[count, 10], and the compiled program as text."""

    def updates(layout: Layout, count: int = 2, model=MODEL, batches=contexts, **fields):
        made = [make(seed, model, fsdp=layout.fsdp, **fields) for seed in range(count)]
        program = made[0][0]
        compiled = side_by_side(
            lambda state, run, batches: jax.lax.scan(
                lambda s, batch: program.update(s, run, batch), state, batches
            ),
            count,
            layout=layout,
        )
        states = stack([state for _, state in made], layout)
        rest = stack(runs[:count], layout), stack(batches[:count], layout)
        ready = compiled.lower(states, *rest).compile()
        after, metrics = ready(states, *rest)
        ready(after, *rest)  # it takes nothing that lies elsewhere: what comes out fits in
        return after, fetch(metrics).loss, ready.as_text()

    return updates


@pytest.fixture(scope="module")
def alone(ten):
    """Each run on a device of its own."""
    return ten(Layout())


def assert_alike(found, wanted, weights: float = 2e-4) -> None:
    count = len(found[1])
    assert np.isfinite(wanted[1]).all() and (wanted[1][:, 0] - wanted[1][:, -1] > 0.02).all()
    np.testing.assert_allclose(found[1], wanted[1][:count], atol=1e-5)
    pairs = zip(unstack(fetch(found[0].parameters)), unstack(fetch(wanted[0].parameters)))
    for one, two in pairs:
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=weights), one, two)


def share(tree) -> float:
    """The part of the numbers of its run that the first device holds of a stacked tree."""
    leaves = jax.tree.leaves(tree)
    held = sum(x.addressable_shards[0].data.nbytes for x in leaves)
    runs = leaves[0].shape[0] / leaves[0].addressable_shards[0].data.shape[0]
    return held * runs / sum(x.nbytes for x in leaves)


@pytest.mark.parametrize("name", LAYOUTS)
def test_ten_updates_are_those_of_one_device(ten, alone, name):
    layout = LAYOUTS[name]
    count = 8 // (layout.data * layout.model)
    state, losses, text = ten(layout, count)
    assert_alike((state, losses), alone)
    # Between two updates, too: parameters are gathered within the loop, or nowhere.
    if layout.fsdp or layout.model == 1:
        assert ("all-gather" in text) == layout.fsdp
    assert "all-reduce" in text and "all-" not in alone[2]

    # Really cut: what a device holds is its part, in bytes and in shape.
    assert len(state.step.sharding.device_set) == 8
    for tree in (state.parameters, state.moments[1].mu, state.moments[1].nu):
        assert {x.dtype for x in jax.tree.leaves(tree)} == {jnp.dtype("float32")}
        block = {name: x for name, x in tree["blocks"][0].items() if name in sharding.SPLIT}
        norms = tree["blocks"][0]["norm_mlp"]
        assert share(block) == pytest.approx(1 / layout.model / (layout.data if layout.fsdp else 1))
        assert share(norms) == pytest.approx(1 / layout.data if layout.fsdp else 1)
    if layout == Layout(data=8, fsdp=True):
        assert share((state.parameters, state.moments)) < 1 / 7  # all but a few counters


@pytest.mark.parametrize(("layout", "parts"), [(Layout(), 4), (Layout(data=4, fsdp=True), 2)])
def test_accumulation_changes_nothing(ten, alone, layout, parts):
    """The rows differ in length, so a mean of the parts' means would be another number."""
    assert_alike(ten(layout, 1, accumulate=parts), alone)


def test_bfloat16_and_remat_on_a_mesh(ten, alone):
    """Activations of eight bits: what is rounded differs where it is added up in parts."""
    model = dataclasses.replace(MODEL, dtype="bfloat16", remat=True)
    wanted = ten(Layout(), 2, model)
    found = ten(Layout(data=2, model=2, fsdp=True, devices=8), 2, model)
    np.testing.assert_allclose(found[1], wanted[1], atol=2e-2)
    assert {x.dtype for x in jax.tree.leaves(found[0].parameters)} == {jnp.dtype("float32")}
    assert (np.abs(wanted[1] - alone[1]) > 1e-5).any()  # it is another precision


def test_one_program_generates_and_trains_all_arms(make, ten, generate, runs, monkeypatch):
    """A pool of two updates, whose 32 levels are played by two devices, 16 each: the contexts and
    the losses of one device, whatever the arm."""
    layout = Layout(data=2, model=2, devices=8)
    made = [make(seed) for seed in range(2)]
    keys = [jax.random.fold_in(state.key, state.step) for _, state in made]
    batches = [generate(key, run) for key, run in zip(keys, runs, strict=True)]
    wanted = ten(Layout(), batches=batches)[1]

    played, rollout = [], train.rollout

    def counted(env, policy, key, levels, **more):
        played.append(jax.tree.leaves(levels)[0].shape[0])
        return rollout(env, policy, key, levels, **more)

    monkeypatch.setattr(train, "rollout", counted)
    program = side_by_side(lambda s, r: made[0][0].chunk(s, r, 1), 2, layout=layout)
    losses = [
        fetch(program(stack([state for _, state in made], layout), stack(order, layout))[1]).loss
        for order in (runs, runs[::-1])
    ]
    assert set(played) == {32 // 2}
    assert program._cache_size() == 1
    np.testing.assert_allclose(losses[0], wanted, atol=1e-5)
    assert (losses[1] != losses[0]).all()


@pytest.mark.parametrize(
    ("name", "shape", "cut"),
    [
        ("query", (64, 64), (None, "model")),
        ("key", (64, 64), (None, "model")),
        ("value", (64, 64), (None, "model")),
        ("qkv", (64, 192), (None, "model")),
        ("project", (64, 64), ("model",)),
        ("expand", (64, 256), (None, "model")),
        ("contract", (256, 64), ("model",)),
        ("embed", (90, 64), ()),
        ("norm_query", (16,), ()),
    ],
)
def test_the_rule_of_a_matrix(name, shape, cut):
    """Heads and units are split over ``model``; fsdp takes the longest dimension that is left and
    divides."""
    path = (jax.tree_util.DictKey("blocks"), jax.tree_util.DictKey(name))
    sizes = {"data": 4, "model": 2}
    assert sharding.rule(path, shape, sizes, fsdp=False) == PartitionSpec(*cut)
    both = sharding.rule(path, shape, sizes, fsdp=True)
    place = list(both).index("data")
    free = [n for i, n in enumerate(shape) if n % 4 == 0 and (*cut, *[None] * 4)[i] is None]
    assert shape[place] == max(free)
    assert sharding.rule(path, shape, {"data": 1, "model": 1}, fsdp=True) == PartitionSpec()


def test_devices_are_limited():
    """``devices`` holds wherever JAX finds more of them, as on a machine of several GPUs."""
    assert Layout(devices=3).groups == 3
    assert Layout(data=2, devices=6).groups == 3
    assert set(Layout(devices=2).mesh(8).devices.flat) == set(jax.devices()[:2])
    assert Layout().groups == len(jax.devices())


def test_a_mesh_without_devices_is_refused():
    with pytest.raises(ValueError, match=r"data 8 x model 2 devices share a run, and there are 8"):
        Layout(data=8, model=2).mesh(1)


def test_contexts_that_cannot_be_shared_are_refused(make, runs):
    layout = Layout(data=8)
    program = make(levels=9)[0]
    compiled = side_by_side(lambda key, run: program.contexts(key, run), 1, layout=layout)
    with pytest.raises(ValueError, match="8 devices cannot share 9 equally"):
        compiled(stack([jax.random.key(0)], layout), stack(runs[:1], layout))


def test_a_kernel_gets_its_own_contexts_and_heads():
    """As the TPU's attention does: the compiler cannot split it."""
    mesh = Layout(data=4, model=2).mesh(1)
    seen = []

    def kernel(query, key):
        seen.append(query.shape)
        return query * key.sum(axis=2, keepdims=True)

    def whole(query, key):
        with jax.sharding.use_abstract_mesh(mesh.abstract_mesh):
            return sharding.by_head(kernel)(query, key)

    everywhere = NamedSharding(mesh, PartitionSpec())
    drawn = [jax.random.normal(jax.random.key(i), (8, 2, 5, 3)) for i in range(2)]
    query, key = jax.device_put(drawn, everywhere)
    found = jax.jit(whole)(query, key)
    np.testing.assert_allclose(found, kernel(query, key), rtol=1e-5)
    assert seen[0] == (2, 1, 5, 3) and found.sharding.shard_shape(found.shape) == seen[0]
    odd = jax.jit(whole)(query[:6], key[:6])  # four devices cannot share six contexts
    np.testing.assert_allclose(odd, found[:6], rtol=1e-5)
