"""Presets are what the issue says; the paper's model has its size, and its first update runs."""

import dataclasses

import jax
import numpy as np
import pytest

from agents.transformer import ModelConfig, define
from envs.levels import draw_levels
from envs.registry import names
from experiments import suite
from experiments.compare import Comparison
from experiments.config import CompareConfig, check
from experiments.families import built_in
from experiments.folder import RunFolder
from experiments.presets import COST, PRESETS, preset
from icl import arms
from icl.train import Numbers, Run

FOUR = ("dark-room", "teleporters", "lava-crossing", "key-door")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_passes_the_check_under_its_own_name(name):
    config = preset(name)
    check(config)
    assert (config.preset, config.out, config.overwrite) == (name, "", False)
    assert COST.keys() == PRESETS.keys() and COST[name]


def test_the_families_on_disk_are_those_registered():
    assert built_in() == names()


def test_smoke_is_tiny():
    smoke = preset("smoke")
    assert (smoke.seeds, smoke.arms) == (1, ("bursty", "isolated-chunks"))
    quick = preset("quick")
    for field in ("updates", "contexts", "levels", "width", "layers", "train_levels"):
        assert getattr(smoke, field) < getattr(quick, field)


def test_quick_is_the_main_job():
    quick = preset("quick")
    assert quick == CompareConfig()
    assert quick.arms == ("bursty", "bursty-chunks", "isolated-chunks") and quick.chunk == 4
    assert quick.readers == ("hash-map", "nearest-neighbour")
    assert (quick.families, quick.test_families) == (FOUR, ("random-graph",))
    assert quick.seeds >= 5 and quick.demos >= 1


def test_ladder_has_every_arm_and_curves():
    ladder = preset("ladder")
    assert set(ladder.arms) == {*arms.NAMED, "isolated-chunks:1"}
    assert ladder.seeds >= 5 and ladder.curve >= 5
    assert (ladder.families, ladder.test_families) == (FOUR, ("random-graph",))


def test_paper_is_of_the_papers_size():
    """12 x 768 x 12 is the paper's model, called 100M there. Its blocks hold 85M; the rest encodes
    pixels and text, which symbols do not need."""
    paper = preset("paper")
    assert (paper.layers, paper.width, paper.heads) == (12, 768, 12)
    assert paper.slots * paper.horizon == 2048
    assert (paper.dtype, paper.remat) == ("bfloat16", True)
    model = ModelConfig(paper.width, paper.layers, paper.heads, paper.dtype, paper.remat)
    face = suite.build(paper).interface
    shapes = jax.eval_shape(lambda key: define(model, face, key)[1], jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert 84.9e6 < count < 86e6
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(shapes)} == {"float32"}


def test_the_first_update_of_paper_runs_at_reduced_depth(tmp_path):
    """All shapes and settings of a context; fewer blocks, contexts, families and levels."""
    few = {"layers": 1, "contexts": 1, "families": ("dark-room",), "test_families": (), "pool": 1}
    config = dataclasses.replace(preset("paper"), **few, train_levels=16, levels=16)
    job = Comparison(config, RunFolder(tmp_path))
    program, start = job.initial(0)
    train = draw_levels(job.suite.train["dark-room"], jax.random.key(0), 16, split="train")
    numbers = Numbers(config.learning_rate, float(config.warmup), float(config.updates))
    chunk = jax.jit(
        lambda state, run: program.chunk(state, run, 1),
        compiler_options={"xla_backend_optimization_level": 0},  # it runs once
    )
    state, metrics = chunk(start, Run(job.arm("bursty"), numbers, (train,)))
    assert int(state.step) == 1 and metrics.loss.shape == (1,)
    assert 0 < metrics.loss[0] < 2 * np.log(job.suite.interface.actions)
    assert 0 < metrics.gradient[0] < np.inf
    assert 8 <= metrics.tokens[0] <= 2048
    for old, new in zip(*map(jax.tree.leaves, (start.parameters, state.parameters)), strict=True):
        assert np.isfinite(new).all()
        assert old.ndim == 1 or (old != new).any()  # a step of 1e-7 rounds to none in a gain
