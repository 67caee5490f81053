"""Part ``train``: an update of the transformer, against PyTorch eager with fused attention.

Both have the same model, batch shape, loss, clipping and decoupled Adam, in float32. One go ends
with the new parameters in memory. What is judged makes one update a call on both sides; beside it
stands what our training does, several updates in one compiled scan, their contexts generated too.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax

from experiments.bench import training
from experiments.bench.clock import OURS, Race, Side, first_line, timed
from experiments.bench.peer import Peer, PeerError, Peers
from experiments.bench.sizes import Model, Sizes

UPDATE = "update"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """Every model: ours update by update, as it trains, and PyTorch."""
    count = len(jax.devices())
    for model in sizes.models:
        made = training.make(model, sizes.families)
        several = sizes.updates
        own = [_ours(made, OURS, count, 1)]
        if count > 1:
            own.append(_ours(made, f"{OURS}, 1 device", 1, 1))
        own.append(_ours(made, f"{OURS}, in one scan", count, several))
        own.append(_ours(made, f"{OURS}, contexts generated", count, several, generated=True))
        try:
            with peers.open("torch_train") as peer:
                yield Race(UPDATE, model.name, model.width, "tokens", (*own, _torch(peer, made)))
        except PeerError as error:
            absent = Side("PyTorch", "", made.tokens, None, reason=first_line(error))
            yield Race(UPDATE, model.name, model.width, "tokens", (*own, absent))


def _ours(
    made: training.Training, who: str, devices: int, updates: int, *, generated: bool = False
) -> Side:
    go, seconds = training.placed(made, devices, updates, generated=generated)
    what = (
        f"{updates} update{'s in one compiled scan' * (updates > 1)}, the batch spread over "
        f"{devices} device{'s' * (devices > 1)}"
    )
    if generated:
        what += "; levels drawn, solved by the oracle, played and arranged in the same program"
    operations = made.operations * updates
    note = f"{made.parameters:,} parameters"
    return Side(who, what, made.tokens * updates, timed(go), seconds, operations, note=note)


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
