"""The README's code runs, its tree is the repository's, and its flags exist."""

import dataclasses
import importlib
import re
import shlex
from pathlib import Path

import jax
import numpy as np
import pytest

import envs
from envs.levels import draw_levels
from experiments.config import CompareConfig
from experiments.presets import preset

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language: fences open and close in turn."""
    fenced = README.split("```")[1::2]
    return [
        text for name, _, text in (block.partition("\n") for block in fenced) if name == language
    ]


def test_corridor_is_a_whole_family(tmp_path, monkeypatch):
    source = next(block for block in blocks("python") if "class Corridor" in block)
    (tmp_path / "corridor.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    env = envs.make("corridor:Corridor", length=20)
    levels = draw_levels(env, jax.random.key(0), 32, split="train")
    assert np.asarray(levels.references[:, 1]).min() > 0.9  # no stickiness: the optimum arrives
    level = levels.level(0)
    steps = abs(int(level.goal) - int(level.start))
    state, ended = env.reset(jax.random.key(0), level), False
    for step in range(steps):
        assert not ended
        toward = int(int(level.goal) > int(level.start))
        state, reward, ended = env.step(jax.random.key(step), level, state, toward)
    assert bool(ended) and float(reward) == 1.0


def test_parts_block_runs():
    source = next(block for block in blocks("python") if "rollout(" in block)
    names: dict = {}
    exec(compile(source.replace("1024", "128"), "README.md", "exec"), names)
    assert names["groups"].observation.shape == (64, 4, 16, 1)


def test_tree_names_every_source_file():
    tree = next(block for block in blocks("") if "levels that emit trajectories" in block)
    listed = set(re.findall(r"[a-z_]+\.py", tree))
    actual = {
        file.name
        for layer in ("envs", "agents", "icl", "experiments")
        for file in (ROOT / layer).rglob("*.py")
        if file.name != "__init__.py" and file.parent.name != "families"
    }
    assert listed == actual


@pytest.mark.parametrize("line", re.findall(r"levelburst compare [^`\n#]*", README))
def test_compare_flags_exist(line):
    fields = {field.name.replace("_", "-") for field in dataclasses.fields(CompareConfig)}
    words = shlex.split(line)
    flags = {word.removeprefix("--") for word in words if word.startswith("--")} - {"help"}
    assert flags <= fields
    if "--preset" in words:
        assert preset(words[words.index("--preset") + 1])
