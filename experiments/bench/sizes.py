"""How large each part of the benchmark is. No JAX here."""

from __future__ import annotations

import dataclasses

PARTS = {
    "simulate": "environment steps a second, random play",
    "contexts": "expert-labelled transitions a second, level generation and solving included",
    "train": "updates of the transformer",
    "decode": "rollouts in context",
    "disk": "training from a store, and its checkpoints",
    "compare": "wall time of the main job, by phase",
    "scale": "how each cost grows",
}


@dataclasses.dataclass(frozen=True)
class Model:
    """A decoder and its batch.

    Attributes:
        width: residual stream.
        layers: blocks.
        heads: attention heads.
        length: T, tokens of a context.
        batch: B, contexts of an update.
    """

    width: int
    layers: int
    heads: int
    length: int
    batch: int

    @property
    def name(self) -> str:
        """As the tables say it."""
        return f"d {self.width} L {self.layers} T {self.length} B {self.batch}"


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All numbers of a benchmark.

    Attributes:
        repeats: timed goes of each side.
        starts: starts of the main job with a cold cache of compiled programs.
        again: whether each is followed by one with a warm cache.
        matrix: edge of the matrices for the machine's peak.
        copy: floats of each array for its bandwidth.
        lanes: N of ``simulate``.
        steps: environment steps of one go in a compiled scan.
        calls: environment steps of one go where every step is a call.
        levels: levels in a buffer.
        preset: of ``contexts``, ``disk`` and ``compare``.
        admitted: levels that ``contexts`` admits, and a family has in the store of ``disk``.
        updates: fused updates of one go where generation is included.
        models: of ``train``.
        families: that its contexts are generated from; their number divides every batch.
        lengths: T of ``decode``.
        shown: tokens of context before a rollout.
        groups: shown contexts of a rollout.
        rows: rows that share one.
        naive: most steps that recomputation is timed over.
        job: words behind ``levelburst compare`` for the main job; without any it is left out.
        first: the same, for the first update.
        scale_levels: n of ``scale``.
        scale_lengths: T.
        scale_demos: K.
        scale_widths: d.
        scale_devices: virtual devices.
        scale_model: what the others vary around.
    """

    repeats: int
    starts: int
    again: bool
    matrix: int
    copy: int
    lanes: tuple[int, ...]
    steps: int
    calls: int
    levels: int
    preset: str
    admitted: int
    updates: int
    models: tuple[Model, ...]
    families: tuple[str, ...]
    lengths: tuple[int, ...]
    shown: int
    groups: int
    rows: int
    naive: int
    job: tuple[str, ...]
    first: tuple[str, ...]
    scale_levels: tuple[int, ...]
    scale_lengths: tuple[int, ...]
    scale_demos: tuple[int, ...]
    scale_widths: tuple[int, ...]
    scale_devices: tuple[int, ...]
    scale_model: Model


FIRST = ("--updates", "1", "--report-every", "1")
SIZES = {
    "full": Sizes(
        repeats=7,
        starts=3,
        again=True,
        matrix=2048,
        copy=2**25,
        lanes=(64, 1024, 8192),
        steps=2**19,
        calls=2**15,
        levels=1024,
        preset="quick",
        admitted=2048,
        updates=4,
        models=(
            Model(64, 2, 2, 256, 64),
            Model(128, 4, 2, 256, 32),
            Model(256, 4, 4, 512, 16),
        ),
        families=("dark-room", "teleporters", "lava-crossing", "key-door"),
        lengths=(64, 256, 1024),
        shown=64,
        groups=8,
        rows=8,
        naive=4,
        job=("--preset", "quick", "--seeds", "1", "--updates", "100"),
        first=("--preset", "quick", *FIRST),
        scale_levels=(256, 512, 1024, 2048, 4096),
        scale_lengths=(64, 128, 256, 512, 1024),
        scale_demos=(1, 2, 4, 8),
        scale_widths=(32, 64, 128, 256),
        scale_devices=(1, 2, 4, 8),
        scale_model=Model(64, 2, 2, 256, 16),
    ),
    "toy": Sizes(
        repeats=2,
        starts=0,
        again=False,
        matrix=128,
        copy=2**12,
        lanes=(4,),
        steps=64,
        calls=32,
        levels=16,
        preset="smoke",
        admitted=64,
        updates=2,
        models=(Model(16, 1, 2, 32, 4),),
        families=("dark-room",),
        lengths=(33,),
        shown=8,
        groups=2,
        rows=2,
        naive=2,
        job=(),
        first=("--preset", "smoke", *FIRST),
        scale_levels=(16, 32),
        scale_lengths=(16, 32),
        scale_demos=(1,),
        scale_widths=(16,),
        scale_devices=(2,),
        scale_model=Model(16, 1, 2, 16, 4),
    ),
}
