"""Probes of trained cells (icl/probes.py), kept beside their tests."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from agents import checkpoint, sharding
from envs.keys import new_key
from experiments import processes
from experiments.compare import Cell, Comparison
from experiments.results import Row
from icl import parallel
from icl.novelty import BINS, Novelty
from icl.probes import MEASURES, probe

KINDS = ("whole", "relabelled", "foreign")


def place(job: Comparison, cell: Cell) -> str:
    """Where the probes of a cell are kept in its folder."""
    return f"probes/{job.folder.cell(*cell)}.json"


def probed(job: Comparison, cell: Cell) -> bool:
    """Whether the probes of a cell are kept, with every measure that there is by now."""
    if not (job.folder.path / place(job, cell)).is_file():
        return False
    return MEASURES.keys() <= {row["measure"] for row in job.folder.read(place(job, cell))}


def probe_cells(job: Comparison) -> None:
    """Probes the trained cells of a comparison that have not been probed, for one demonstration
    and for all of them, on demonstrations as they are, renamed, and of another level. They lie
    under the test's stickiness, like its levels."""
    config, folder = job.config, job.folder
    cells = [cell for cell in job.cells if not probed(job, cell)]
    cells = [(arm, seed) for arm, seed in processes.agree(cells)]
    if not cells:
        return
    job.progress.phases.enter("evaluate")
    like = job.initial(0)[1].parameters
    settings = [(k, kind) for k in sorted({1, config.demos}) for kind in KINDS]

    def all_of(parameters: Any, key: jax.Array, families: Any) -> list[Any]:
        inside = sharding.in_use(parameters)
        sizes = {"count": config.levels}
        return [
            probe(inside, job.program.graph, key, families, demos=k, kind=kind, **sizes)
            for k, kind in settings
        ]

    run = job.side_by_side(all_of)
    with job.progress.task("probing", len(cells), "cells") as bar:
        for wave in job.waves(cells):
            padded = job.padded(wave)
            kept = [checkpoint.restore(folder.checkpoint(*cell), like) for cell in padded]
            keys = job.stack([jax.random.fold_in(new_key(s), 2**27) for _, s in padded])
            families = job.stack([job.levels(seed).test for _, seed in padded])
            found = parallel.unstack(parallel.fetch(run(job.stack(kept), keys, families)))
            for cell, results in zip(wave, found, strict=False):
                rows = rows_of(cell, job.levels(cell[1]).names, settings, results)
                if processes.leader():
                    folder.write(place(job, cell), rows)
            bar.advance(len(wave))


def rows_of(
    cell: Cell, names: Any, settings: list[tuple[int, str]], results: list[Any]
) -> list[Row]:
    """A row for each measure of each family of each split, and of the families of a split
    together, pooled over their steps. ``original`` is of renamed demonstrations only.

    Args:
        cell: arm and seed.
        names: (family, split) of each set.
        settings: (k, kind of demonstrations) of each result.
        results: ``icl.probes.Probe`` with NumPy arrays.
    """
    rows = []
    splits = list(dict.fromkeys(split for _, split in names))
    for (demos, kind), result in zip(settings, results, strict=True):
        for split in splits:
            own = [i for i, (_, s) in enumerate(names) if s == split]
            for family, parts in [("all", own), *((names[i][0], [i]) for i in own)]:
                total, count = result.total[parts].sum(0), result.count[parts].sum(0)
                head: Row = {
                    "arm": cell[0], "seed": cell[1], "split": split, "family": family,
                    "demos": demos, "demonstrations": kind,
                }  # fmt: skip
                rows += [
                    head | {"measure": name, "score": float(total[i] / count[i])}
                    for i, name in enumerate(MEASURES)
                    if count[i] and (name != "original" or kind == "relabelled")
                ]
                hits = count[list(MEASURES).index("copy")]
                for place in np.ndindex(result.match.shape[1:]) if hits else ():
                    at = {"unit": f"layer {place[0] + 1}, head {place[1] + 1}"}
                    looks = result.match[parts].sum(0)[place] / hits
                    after = result.ablated[parts].sum(0)[place]
                    rows.append(head | at | {"measure": "match", "score": looks})
                    rows += [
                        head | at | {"measure": f"{name} without", "score": after[i] / count[i]}
                        for i, name in enumerate(MEASURES)
                        if name in ("loss", "copy")
                    ]
                rows += [head | row for row in novelty_rows(result.novelty, parts)]
                losses, steps = result.loss[parts].sum(0), result.steps[parts].sum(0)
                rows += [
                    head
                    | {"measure": "loss at step", "step": int(t), "score": losses[t] / steps[t]}
                    for t in np.flatnonzero(steps)
                ]
    return [row | {"score": float(row["score"])} for row in rows]


def novelty_rows(found: Novelty, parts: list[int]) -> list[Row]:
    """Of some sets together, by distance: the share of the steps there, and of them the share of
    agreement. By novelty of episodes: the share of episodes, agreement and loss."""
    rows: list[Row] = []
    near, whole = found.distance[parts].sum(0), found.episode[parts].sum(0)
    for distance, (steps, agrees) in enumerate(near):
        at: Row = {"distance": distance}
        rows.append(at | {"measure": "steps at distance", "score": steps / near[:, 0].sum()})
        if steps:
            rows.append(at | {"measure": "agree at distance", "score": agrees / steps})
    for most, (episodes, steps, agrees, loss) in zip(BINS, whole, strict=True):
        at = {"novelty": most}
        rows.append(at | {"measure": "episodes of novelty", "score": episodes / whole[:, 0].sum()})
        if steps:
            rows.append(at | {"measure": "agree at novelty", "score": agrees / steps})
            rows.append(at | {"measure": "loss at novelty", "score": loss / steps})
    return rows
