"""Presets are what the issue says; the paper's model has its size, and its first update runs."""

import dataclasses

import jax
import numpy as np
import pytest

from agents.transformer import ModelConfig, define
from envs.registry import names
from experiments import suite
from experiments.compare import Comparison
from experiments.config import COST, PRESETS, CompareConfig, check, known_families, preset
from experiments.folder import RunFolder
from icl import arms

FOUR = ("dark-room", "teleporters", "lava-crossing", "key-door")


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_passes_the_check_under_its_own_name(name):
    config = preset(name)
    check(config)
    assert (config.preset, config.out, config.overwrite) == (name, "", False)
    assert COST.keys() == PRESETS.keys() and COST[name]


def test_the_families_on_disk_are_those_registered():
    assert known_families() == names()


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
    paper = preset("paper")
    assert paper.slots * paper.horizon == 2048
    assert (paper.dtype, paper.remat) == ("bfloat16", True)
    model = ModelConfig(paper.width, paper.layers, paper.heads, paper.dtype, paper.remat)
    face = suite.build(paper).interface
    shapes = jax.eval_shape(lambda key: define(model, face, key)[1], jax.random.key(0))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert 90e6 < count < 115e6
    assert {str(leaf.dtype) for leaf in jax.tree.leaves(shapes)} == {"float32"}


def test_the_first_update_of_paper_runs_at_reduced_depth(tmp_path):
    """All shapes and settings but the number of blocks, contexts and levels drawn."""
    paper = preset("paper")
    small = {"layers": 1, "contexts": 4, "pool": 1, "train_levels": 16, "levels": 16}
    job = Comparison(dataclasses.replace(paper, **small), RunFolder(tmp_path))
    program, start = job._initial(0)
    run = job._run(("bursty", 0))
    context = jax.jit(program.contexts)(jax.random.key(0), run)
    assert context.valid.shape == (1, 4, 2048)
    state, metrics = jax.jit(lambda s, r: program.chunk(s, r, 1))(start, run)
    assert int(state.step) == 1 and metrics.loss.shape == (1,)
    assert np.isfinite(metrics.loss) and np.isfinite(metrics.gradient)
    assert 0 < metrics.loss[0] < 2 * np.log(job.suite.interface.actions)
    moved = jax.tree.map(lambda a, b: bool((a != b).any()), start.parameters, state.parameters)
    assert all(jax.tree.leaves(moved))
