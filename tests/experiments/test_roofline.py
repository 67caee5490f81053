"""The closed formula counts what the model does: against the model, its trace and XLA's count."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import pytest
from jax.extend.core import jaxprs_in_params

from agents import tokens
from agents.attention import BLOCK
from agents.transformer import Interface, ModelConfig, define
from experiments import roofline
from experiments.cli import run
from experiments.counted import Counted, count, traced_update
from experiments.devices import DEVICES, Device
from experiments.presets import operations, preset
from experiments.roofline import Decoder, Layout, Update, executed, limits, products

H100 = DEVICES["h100"]
PAPER = Decoder(768, 12, 12, features=100, actions=6)
PAPER_UPDATE = Update(64, 2048, remat=True)
SMALL = dataclasses.replace(
    preset("quick"),
    families=("dark-room",),
    test_families=(),
    contexts=8,
    horizon=40,  # 160 positions: two blocks of attention and a half
    width=128,
    layers=2,
    heads=4,
)


def sizes(config) -> tuple[Decoder, Update]:
    """What the formula counts for SMALL and its like."""
    from experiments.suite import build

    face = build(config).interface
    features = tokens.width(face.fields, face.symbols, face.actions)
    decoder = Decoder(config.width, config.layers, config.heads, features, face.actions)
    length = config.slots * config.horizon
    return decoder, Update(config.contexts, length, 4, config.remat, fused=False)


def dots(jaxpr) -> int:
    """Operations of the matrix products of a trace, 2 a multiplication and addition; the body of a
    scan as often as it runs."""
    found = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
            shape = equation.invars[0].aval.shape
            found += 2 * equation.outvars[0].aval.size * math.prod(shape[i] for i in contracted)
        times = equation.params["length"] if equation.primitive.name == "scan" else 1
        found += times * sum(map(dots, jaxprs_in_params(equation.params)))
    return found


@pytest.mark.parametrize("shape", [(32, 1, 2), (48, 3, 4), (64, 2, 1)])
@pytest.mark.parametrize("face", [Interface(2, 11, 5), Interface(1, 40, 3)])
def test_parameters_are_those_of_the_model(shape, face):
    made = jax.eval_shape(lambda key: define(ModelConfig(*shape), face, key)[1], jax.random.key(0))
    features = tokens.width(face.fields, face.symbols, face.actions)
    found = Decoder(*shape, features, face.actions).parameters
    assert found == sum(leaf.size for leaf in jax.tree.leaves(made))


@pytest.mark.parametrize("remat", [False, True])
def test_products_are_exactly_those_of_the_traced_update(remat):
    config = dataclasses.replace(SMALL, remat=remat)
    assert roofline.BLOCK == BLOCK
    assert executed(*sizes(config)) == dots(traced_update(config).jaxpr.jaxpr)


def test_xla_counts_the_products_and_a_few_percent_of_other_work():
    """XLA adds one operation for each element of a sum, product or comparison: here 3 %."""
    traced = traced_update(SMALL)
    decoder, update = sizes(SMALL)
    found = count(traced.lower().compile())
    assert 1.0 < found.operations / executed(decoder, update) < 1.06
    # Bytes by the rule are a floor: XLA for CPU fuses less (2.5 x the traffic, 1.8 x the memory).
    assert 1.0 < found.traffic / roofline.traffic(decoder, update, Layout()) < 4.0
    assert 1.0 < found.held / roofline.held(decoder, update, Layout()) < 4.0
    state = 12 * decoder.parameters  # parameters and two moments
    assert state < found.arguments < state + 100 * update.tokens


def test_xla_counts_the_body_of_a_loop_once():
    """So the update is compiled to be counted, not a chunk of them."""

    def loop(length):
        square = jnp.zeros((64, 64))
        many = jax.jit(lambda x: jax.lax.scan(lambda y, _: (y @ y, None), x, length=length)[0])
        return count(many.lower(square).compile()).operations

    assert loop(10) < 1.1 * loop(2)


def test_a_backend_without_analysis_is_an_error():
    class Nothing:
        def cost_analysis(self):
            return None

        memory_analysis = cost_analysis

    with pytest.raises(ValueError, match="no cost analysis"):
        count(Nothing())


def test_the_presets_estimate_of_its_operations_is_close():
    """experiments.config.operations leaves out the two ends and halves attention exactly."""
    config = preset("paper")
    decoder = Decoder(config.width, config.layers, config.heads, 0, 0)
    update = Update(config.contexts, config.slots * config.horizon, remat=config.remat)
    runs = config.updates * len(config.arms) * config.seeds
    assert runs * products(decoder, update) / operations(config) == pytest.approx(1, abs=0.01)


def test_a_device_limits_by_what_it_lacks():
    slow = {"peak": 1e9, "bandwidth": 1e6, "link": 1.0}
    names = dict(zip(slow, ("compute", "memory", "links"), strict=True))
    for field, value in slow.items():
        device = dataclasses.replace(H100, **{field: value})
        found = limits(PAPER, PAPER_UPDATE, Layout(data=2), device)
        assert found.name == names[field]
        assert found.shortest == getattr(found, found.name) < found.longest


def test_seconds_are_work_by_speed():
    found = limits(PAPER, PAPER_UPDATE, Layout(), H100)
    assert found.compute * H100.peak == pytest.approx(executed(PAPER, PAPER_UPDATE))
    assert found.links == 0
    two = limits(PAPER, PAPER_UPDATE, Layout(runs=2), H100)
    assert (two.compute, two.held) == (2 * found.compute, 2 * found.held)
    counted = Counted(989e12, 6.7e12, 0, 5).limits(H100)
    assert (counted.compute, counted.memory, counted.name) == (1.0, 2.0, "memory")


def test_gradients_go_round_a_ring():
    """An all-reduce sends 2 (n - 1) / n of the gradient; nodes add their own ring."""
    gradient = 4 * PAPER.parameters
    near = limits(PAPER, PAPER_UPDATE, Layout(data=8), H100).links
    assert near == pytest.approx(2 * gradient * 7 / 8 / H100.link)
    far = limits(PAPER, PAPER_UPDATE, Layout(data=16), H100).links
    assert far - near == pytest.approx(2 * gradient / 2 / (8 * H100.network))


def test_matrices_shared_send_activations():
    """Four all-reduces of the activations a block, a fifth where the block is done again."""
    update = dataclasses.replace(PAPER_UPDATE, remat=False)
    sums = 12 * update.tokens * 768 * 2 * 2 * 3 / 4 / H100.link
    assert limits(PAPER, update, Layout(model=4), H100).links == pytest.approx(4 * sums)
    assert limits(PAPER, PAPER_UPDATE, Layout(model=4), H100).links == pytest.approx(5 * sums)


@pytest.mark.parametrize(
    "layout", [Layout(data=8), Layout(data=8, fsdp=True), Layout(model=4), Layout(accumulate=4)]
)
def test_every_layout_saves_memory(layout):
    assert roofline.held(PAPER, PAPER_UPDATE, layout) < roofline.held(PAPER, PAPER_UPDATE, Layout())


def test_memory_of_parameters_moments_and_gradients():
    """Sixteen bytes a parameter; of eight devices that share all, each an eighth, and the gathered
    parameters."""
    nothing = Update(0, 2048)
    assert roofline.held(PAPER, nothing, Layout(data=8)) == 16 * PAPER.parameters
    shared = roofline.held(PAPER, nothing, Layout(data=8, fsdp=True))
    assert shared == 2 * PAPER.parameters + 4 * PAPER.parameters


@pytest.mark.parametrize("change", [{"remat": True}, {"fused": True}])
def test_remat_and_fusion_save_memory(change):
    plain = Update(64, 2048, remat=False, fused=False)
    less = dataclasses.replace(plain, **change)
    assert roofline.held(PAPER, less, Layout()) < roofline.held(PAPER, plain, Layout()) / 2


@pytest.mark.parametrize("device", DEVICES.values(), ids=DEVICES)
def test_a_devices_figures_are_those_of_its_source(device: Device):
    """Peak in TFLOPS, memory in GB and bandwidth in TB/s or GB/s stand in the source's words."""
    assert f"{device.memory / 1e9:.0f} GB" in device.source
    peak = device.peak * (2 if "sparsity" in device.source else 1) / 1e12
    assert any(f"{p:,.0f} TFLOPS" in device.source for p in (peak, peak + 1))
    speeds = (f"{device.bandwidth / 1e12:g} TB/s", f"{device.bandwidth / 1e9:,.0f} GB/s")
    assert any(speed in device.source for speed in speeds)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--device h10", "unknown device 'h10'"),
        ("--data 3", "contexts 64 cannot be shared by data 3 x accumulate 1"),
        ("--model 5", "heads 12 cannot be"),
        ("--model 12 --device h100", "fast links join 8 NVIDIA H100 SXM only"),
        ("--data 0", "data 0: use a number of 1 or more"),
        ("--observations pixels", "only models of symbols are counted"),
        ("--preset papers", "unknown preset 'papers'"),
    ],
)
def test_a_mistake_is_one_line(capsys, words, said):
    assert run(["roofline", *words.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and said in err and len(err.splitlines()) == 1


def test_what_does_not_fit_is_said(capsys):
    assert run(["roofline", "--no-remat", "--device", "v5e", "h200", "--sources"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line.split("   ")[0]: line for line in lines}
    assert rows["TPU v5e"].endswith("of 16 !") and rows["NVIDIA H200 SXM"].endswith("of 141")
    assert any("does not fit" in line for line in lines)
    assert any(line.startswith("TPU v5e: docs.cloud.google.com") for line in lines)


def test_compile_prints_what_xla_counts(capsys):
    words = "--preset smoke --compile --device h100 --test-families"
    assert run(["roofline", *words.split()]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.startswith("compiled for cpu:")
    ratio = float(last.partition("operations, ")[2].split()[0])
    assert 1.0 < ratio < 1.3  # at width 32, what is no matrix product weighs more
