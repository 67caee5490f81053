"""Part ``train``: an update of the transformer, against PyTorch eager with fused attention.

Both have the same model, batch shape, loss, clipping and decoupled Adam, in float32. One go is one
update, its new parameters in memory.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax

from experiments.bench import training
from experiments.bench.clock import OURS, Race, Side, first_line, timed
from experiments.bench.peer import Peer, PeerError, Peers
from experiments.bench.sizes import Model, Sizes

UPDATE = "update"
GENERATED = "update, contexts generated"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """Every model: the update alone, then with generation."""
    count = len(jax.devices())
    for model in sizes.models:
        made = training.make(model, sizes.families)
        own = [_ours(made, devices) for devices in sorted({1, count}, reverse=True)]
        note = f"{made.parameters:,} parameters"
        try:
            with peers.open("torch_train") as peer:
                yield Race(UPDATE, model.name, model.width, "tokens", (*own, _torch(peer, made)))
        except PeerError as error:
            absent = Side("PyTorch", "", made.tokens, None, reason=first_line(error), note=note)
            yield Race(UPDATE, model.name, model.width, "tokens", (*own, absent))
        yield Race(
            GENERATED, model.name, model.width, "tokens", (_generated(made, count, sizes.updates),)
        )


def name(devices: int) -> str:
    """Our side, which is spread over all devices unless it says otherwise."""
    return OURS if devices == len(jax.devices()) else f"{OURS}, {devices} device"


def _ours(made: training.Training, devices: int) -> Side:
    go, seconds = training.placed(made, devices)
    what = f"the batch spread over {devices} device{'s' * (devices > 1)}"
    note = f"{made.parameters:,} parameters"
    return Side(name(devices), what, made.tokens, timed(go), seconds, made.operations, note=note)


def _generated(made: training.Training, devices: int, updates: int) -> Side:
    go, seconds = training.placed(made, devices, updates)
    what = f"{updates} fused updates a go; levels generated, solved and played in the same program"
    operations = made.operations * updates
    return Side(OURS, what, made.tokens * updates, timed(go), seconds, operations)


def _torch(peer: Peer, made: training.Training) -> Side:
    """The rival with our interface; its parameters are counted to be as many as ours."""
    model: Model = made.model
    sizes = {key: getattr(model, key) for key in ("width", "layers", "heads", "length", "batch")}
    count = peer.ask("setup", **sizes, **made.interface)["parameters"]
    if count != made.parameters:
        raise PeerError(f"it has {count:,} parameters and ours {made.parameters:,}: not one model")
    what = "eager, scaled_dot_product_attention(is_causal), fused AdamW, foreach clipping"
    return Side(
        "PyTorch", what, made.tokens, peer.run, operations=made.operations,
        note=peer.ask("version"),
    )  # fmt: skip
