"""What a run came to: its cells, and what was measured on the way, in one ``results.json``."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments import results as results_lib
from experiments.config import CompareConfig
from icl import arms as arms_lib

if TYPE_CHECKING:
    from experiments.compare import Comparison


def gather(job: Comparison, machine: dict[str, Any]) -> dict[str, Any]:
    """Gathers the cells into ``results.json``; ``machine`` is what the session began with."""
    config, folder = job.config, job.folder
    names = [*config.arms, *config.readers]
    rows = [row for arm in names for seed in job.seeds for row in folder.rows(arm, seed)]
    lines = folder.logged()
    curves = [line for line in lines if line["kind"] == "evaluation"]
    found = {
        "schema": 1,
        "config": folder.read("config.json"),
        "environment": machine,
        "arms": {arm: _deal(config, arm, lines) for arm in config.arms},
        "families": {name: _family(job, name) for name in (*job.suite.train, *job.suite.held_out)},
        "rows": rows,
        "verdicts": results_lib.verdicts_of(rows, curves),
    }
    folder.write("results.json", found)
    return found


def _family(job: Comparison, name: str) -> dict[str, Any]:
    """What the scores of a family refer to."""
    expert = name in job.suite.experts
    return {
        "optimum": "the return of a PPO expert, simulated" if expert else "exact",
        "random": "simulated" if expert else "exact",
    }


def _deal(config: CompareConfig, name: str, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What an arm made of its pool: what was asked of it, and what was measured in training."""
    arm = arms_lib.named(name, config.chunk)
    pool = config.pool * config.contexts // len(config.families)
    own = [line for line in lines if line["kind"] == "train" and line["arm"] == name]
    measured = {
        field: float(np.median([line[field] for line in own]))
        for field in ("mean_row", "longest_row", "whole_cells", "tokens_per_second")
    }
    note = "its contexts end after one trajectory: k >= 1 lies outside its training"
    return {
        **dataclasses.asdict(arms_lib.check(arm, pool, config.slots, config.horizon)),
        "pool_levels": pool,
        "positions": config.horizon * (1 if arm.alone else config.slots),
        **measured,
        "note": note if arm.alone else "",
    }
