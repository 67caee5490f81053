"""A number that is not finite: named, with what it takes to make its batch again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import numpy as np

from agents import checkpoint
from envs.keys import new_key
from experiments import processes
from experiments.feed import Feed
from icl.contexts import Context
from icl.train import Metrics

if TYPE_CHECKING:
    from experiments.compare import Cell, Comparison

# In the order in which an update makes them: Metrics' field -> its name.
PLACES = {"loss": "loss", "gradient": "gradient", "weights": "norm of the parameters"}


def refuse(job: Comparison, cell: Cell, metrics: Metrics, first: int) -> None:
    """Looks at the metrics of a cell's chunk, Metrics[updates], whose first update is ``first``.

    Raises:
        FloatingPointError: a number is not finite. ``faults/CELL-UPDATE.json`` in the run's folder
            says of which batch.
    """
    found = {place: np.asarray(getattr(metrics, place)) for place in PLACES}
    wrong = [(int(np.argmin(np.isfinite(x))), p) for p, x in found.items() if not _finite(x)]
    if not wrong:
        return
    step = min(wrong)[0]
    place = next(p for p in PLACES if not np.isfinite(found[p][step]))
    value, update, (arm, seed) = found[place][step], first + step, cell
    what = f"the {PLACES[place]} is {value}"
    if processes.leader():
        pool = update - update % job.config.pool
        if job.config.method != "reinforcement":  # which plays for itself
            wrong_data = checkpoint.unbounded(batch(job, cell, update))
            if wrong_data:
                place, what = "data", f"the data hold a number that is not finite ({wrong_data})"
        told = {
            "arm": arm,
            "seed": seed,
            "update": update,
            "place": place,
            "pool": pool,
            "key": np.asarray(jax.random.key_data(_key(seed, pool))).tolist(),
        }
        path = job.folder.write(f"faults/{job.folder.cell(*cell)}-{update}.json", told)
        what += f" at update {update}; its batch is kept as a seed in {path}"
    else:
        what += f" at update {update}"
    what = processes.agree(what)  # nobody leaves before it is kept
    raise FloatingPointError(
        f"{arm} seed {seed}: {what}; lower --learning-rate (now {job.config.learning_rate})"
    )


def batch(job: Comparison, cell: Cell, update: int) -> Context:
    """The contexts of an update, Context[B, P], made again: they are a function of the cell's seed
    and of the update's number, and of nothing that was learned; where a store is trained on, they
    are read of it."""
    pool, index = update - update % job.config.pool, update % job.config.pool
    run, stored = job.run(cell), None
    if job.config.store:
        stored = Feed(job).pool(cell[1], pool, run)
    contexts = job.batches(_key(cell[1], pool), run, stored)
    return jax.tree.map(lambda x: x[index], contexts)


def _key(seed: int, pool: int) -> jax.Array:
    """The key of the pool that begins with an update."""
    return jax.random.fold_in(new_key(seed), pool)


def _finite(x: np.ndarray) -> bool:
    return bool(np.isfinite(x).all())
