"""What XLA says of a compiled program: operations, bytes accessed, memory at the peak."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import jax

from experiments.compare import Comparison
from experiments.config import CompareConfig
from experiments.devices import Device
from experiments.folder import RunFolder
from experiments.roofline import Limits


@dataclasses.dataclass(frozen=True)
class Counted:
    """XLA's own count of a compiled program, on one device.

    The body of a loop (``scan``, ``while``) counts once, whatever its length, and kernels that are
    not XLA's own (cuDNN, Pallas) count nothing; every element of an addition, product or comparison
    counts as one operation. So a single update is read, not a chunk of them.

    Attributes:
        operations: floating-point operations.
        traffic: bytes accessed by all instructions after fusion, caches left out of account.
        arguments: bytes of the arguments.
        held: bytes of memory at the peak: arguments, results that reuse none, and temporaries.
    """

    operations: float
    traffic: float
    arguments: int
    held: int

    def limits(self, device: Device) -> Limits:
        """The same program on a device of one's choice, its links aside."""
        return Limits(
            compute=self.operations / device.peak,
            memory=self.traffic / device.bandwidth,
            links=0.0,
            held=self.held,
        )


def count(compiled: Any) -> Counted:
    """Reads ``cost_analysis`` and ``memory_analysis`` of a ``jax.stages.Compiled``.

    Raises:
        ValueError: the backend offers none.
    """
    cost, memory = compiled.cost_analysis(), compiled.memory_analysis()
    if not cost or "flops" not in cost or memory is None:
        raise ValueError("this backend offers no cost analysis of a compiled program")
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Counted(
        operations=float(cost["flops"]),
        traffic=float(cost["bytes accessed"]),
        arguments=memory.argument_size_in_bytes,
        held=memory.argument_size_in_bytes + results + memory.temp_size_in_bytes,
    )


def traced_update(config: CompareConfig) -> jax.stages.Traced:
    """The update of the config's first arm, traced and not run: ``icl.train.Program.update``.
    ``.lower().compile()`` compiles it for one device. Levels are drawn for their shapes only, as
    few as go."""
    alone = {"data": 1, "model": 1, "fsdp": False, "runs_per_device": 1}
    few = dataclasses.replace(
        config, train_levels=max(16, config.contexts), levels=16, pool=1, **alone
    )
    with tempfile.TemporaryDirectory() as spare:  # where experts would be kept
        job = Comparison(few, RunFolder(Path(spare)))
    program, state = job.initial(few.seed)
    run = job.run((few.arms[0], few.seed))

    def first(key: jax.Array) -> Any:
        return jax.tree.map(lambda x: x[0], program.contexts(key, run))

    context = jax.eval_shape(first, state.key)
    return jax.jit(program.update, donate_argnums=0).trace(state, run, context)
