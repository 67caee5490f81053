"""Training in a process of its own, on as many virtual CPU devices as it is told to have."""

from __future__ import annotations

import sys
from pathlib import Path

from experiments.bench.peer import Peer
from experiments.bench.sizes import Model

ROOT = Path(__file__).resolve().parents[2]


def spawn(devices: int) -> Peer:
    """A child with that many devices, asked as a rival is: ``setup(**sizes)``, ``run(times)``."""
    program = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
        f"from experiments.bench.child import main; main({devices})"
    )
    return Peer(f"{devices} devices", [sys.executable, "-c", program])


def main(devices: int) -> None:
    """Answers until standard input ends."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)
    from experiments.bench import training
    from experiments.bench.clock import timed
    from experiments.bench.peers.serve import serve

    box = {}

    def setup(**sizes: int) -> dict[str, float]:
        go, seconds = training.placed(training.make(Model(**sizes), ("dark-room",)), devices)
        box["run"] = timed(go)
        return {"compile": seconds}

    def run(times: int = 1) -> list[float]:
        return [box["run"]() for _ in range(times)]

    serve({"setup": setup, "run": run})
