"""What limits an update: compute, memory bandwidth or the links between devices.

A closed formula of the decoder in ``agents/transformer.py`` by its sizes, without JAX: parameters
and matrix products exactly, bytes by a stated rule. ``experiments/counted.py`` reads what XLA
itself counts in a compiled program; a test holds one against the other.

Times are floors: a real program moves more bytes and fills no unit all the time. Where compute,
memory and links overlap perfectly an update takes the largest of the three; where nothing
overlaps, their sum.
"""

from __future__ import annotations

import dataclasses
import math

from experiments.config import CompareConfig
from experiments.devices import Device

SLACK = 6  # XLA on CPU counts 5.7 times the formula at worst, with remat
BLOCK = 64  # queries that attention takes together; it multiplies no key after the last of them
MASTER = 4  # bytes of a parameter, of each of Adam's two moments and of a gradient: float32

# Elements that one token moves through memory in a block's forward pass, in widths: what each
# matrix product, norm, rotation and attention reads and writes once, the rest fused into them.
# Tensor parallelism splits the second kind. The backward pass moves twice as much.
MOVED_WHOLE = 10  # norms 4, into qkv and expand 2, out of project and contract 2, residuals 2
MOVED_SPLIT = 20  # qkv 3, its norms and rotation 4, attention 4, project 1, expand 4, contract 4
# Elements that a block keeps for the backward pass.
KEPT_WHOLE = 4  # the residual stream before each half, and both norms
KEPT_SPLIT = 14  # qkv 3, rotated 2, attended 1, expanded 4, squared 4


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Sizes of the transformer.

    Attributes:
        width: residual stream.
        layers: blocks.
        heads: attention heads of a block.
        features: of a token of symbols, ``agents.tokens.width``.
        actions: logits.
    """

    width: int
    layers: int
    heads: int
    features: int
    actions: int

    @property
    def block(self) -> int:
        """Parameters of the four matrices of a block."""
        return 12 * self.width**2

    @property
    def parameters(self) -> int:
        """Parameters, exactly as ``agents.transformer.define`` makes them."""
        gains = 2 * self.width + 2 * (self.width // self.heads)
        ends = (self.features + self.actions + 1) * self.width
        return self.layers * (self.block + gains) + ends


@dataclasses.dataclass(frozen=True)
class Update:
    """The work of one update of one run.

    Attributes:
        contexts: rows of the batch.
        length: positions of a row, padding included.
        size: bytes of an activation: 2 for bfloat16, 4 for float32.
        remat: a block's forward pass is done again in the backward pass.
        fused: attention keeps its scores on the chip (cuDNN, Pallas); else they go through memory.
    """

    contexts: int
    length: int
    size: int = 2
    remat: bool = False
    fused: bool = True

    @property
    def tokens(self) -> int:
        """Positions of the batch."""
        return self.contexts * self.length

    @property
    def pairs(self) -> int:
        """(query, key) pairs that causal attention multiplies in one head of one row, in blocks."""
        ends = (min(first + BLOCK, self.length) for first in range(0, self.length, BLOCK))
        return sum((end - (end - 1) // BLOCK * BLOCK) * end for end in ends)

    @property
    def passes(self) -> int:
        """Forward passes that memory traffic amounts to."""
        return 4 if self.remat else 3


@dataclasses.dataclass(frozen=True)
class Layout:
    """How runs lie on devices.

    Attributes:
        data: devices that share the rows of a run.
        model: devices that share each matrix of a run (tensor parallel).
        fsdp: parameters, moments and gradients are split over ``data``, too.
        accumulate: parts of the batch that are done one after another.
        runs: runs side by side on the same devices.
    """

    data: int = 1
    model: int = 1
    fsdp: bool = False
    accumulate: int = 1
    runs: int = 1

    @property
    def devices(self) -> int:
        """Devices of one run."""
        return self.data * self.model

    @property
    def split(self) -> int:
        """Devices that share parameters, moments and gradients."""
        return self.model * (self.data if self.fsdp else 1)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Seconds of one update, by what they are spent on, and what fits.

    Attributes:
        compute: at the device's peak.
        memory: at its bandwidth.
        links: at the speed of the links and of the network.
        held: bytes that a device holds at most.
    """

    compute: float
    memory: float
    links: float
    held: float

    @property
    def name(self) -> str:
        """The largest of the three."""
        return max(("compute", "memory", "links"), key=lambda name: getattr(self, name))

    @property
    def shortest(self) -> float:
        """Seconds where all three overlap perfectly."""
        return max(self.compute, self.memory, self.links)

    @property
    def longest(self) -> float:
        """Seconds where nothing overlaps."""
        return self.compute + self.memory + self.links


def update_of(config: CompareConfig, fused: bool = True) -> Update:
    """An update of a config, its attention fused where it can be: in bfloat16."""
    return Update(
        contexts=config.contexts,
        length=config.slots * config.horizon,
        size=2 if config.dtype == "bfloat16" else 4,
        remat=config.remat,
        fused=fused and config.dtype == "bfloat16",
    )


def products(decoder: Decoder, update: Update) -> float:
    """Floating-point operations of the matrix products of an update without rematerialisation, 2 a
    multiplication and addition: what a share of peak is a share of. The backward pass has two
    products for each of the forward's, but the features need no gradient."""
    dense = 6.0 * decoder.layers * decoder.block * update.tokens
    ends = (4.0 * decoder.features + 6.0 * decoder.actions) * decoder.width * update.tokens
    return dense + 3 * _attention(decoder, update) + ends


def executed(decoder: Decoder, update: Update) -> float:
    """``products`` and those done again: of a block all but the last, which nothing asks for (8 of
    12 width²), and a fused kernel's scores in the backward pass, which it did not keep."""
    again = 0.0
    if update.remat:
        again += 2.0 * decoder.layers * 8 * decoder.width**2 * update.tokens
        again += _attention(decoder, update)
    if update.fused:
        again += _attention(decoder, update) / 2
    return products(decoder, update) + again


def _attention(decoder: Decoder, update: Update) -> float:
    """Operations of the forward pass: scores and mixtures, 2 * width each for a pair."""
    return 4.0 * decoder.width * decoder.layers * update.pairs * update.contexts


def traffic(decoder: Decoder, update: Update, layout: Layout) -> float:
    """Bytes that a device moves through its memory in one update of one run."""
    tokens = update.tokens / layout.data
    widths = MOVED_WHOLE + MOVED_SPLIT / layout.model
    moved = update.passes * widths * decoder.width * update.size * decoder.layers
    moved += 3 * MASTER * decoder.features
    if not update.fused:  # scores written and read, and weights, which are float32
        pairs = update.pairs / update.length * decoder.heads * decoder.layers / layout.model
        moved += update.passes * (2 * update.size + 2 * MASTER) * pairs
    read = (update.passes - 1) * update.size  # forward, again, and for the inputs' gradient
    sums = MASTER if layout.accumulate == 1 else 3 * MASTER  # written; added to: read and written
    weights = decoder.parameters / layout.model * layout.accumulate * (read + sums)
    # Cast and clipped; parameter, gradient and moments read, all but the gradient written.
    optimiser = decoder.parameters / layout.split * (9 * MASTER + update.size)
    return tokens * moved + weights + optimiser


def held(decoder: Decoder, update: Update, layout: Layout) -> float:
    """Bytes of memory that one run needs at most on a device: parameters, moments, gradients, the
    activations kept for the backward pass; not the program, nor what the compiler sets aside."""
    gradients = 1 if layout.accumulate == 1 else 2  # the sum, and the part's own
    state = decoder.parameters / layout.split * MASTER * (3 + gradients)
    if layout.fsdp:  # what was gathered for the pass, counted as kept until its end
        state += decoder.parameters * MASTER / layout.model
    block = (KEPT_WHOLE + KEPT_SPLIT / layout.model) * decoder.width * update.size
    if not update.fused:
        pairs = update.pairs / update.length * decoder.heads / layout.model
        block += pairs * (MASTER + update.size)
    kept = decoder.layers * block
    if update.remat:  # every block's input, and one block in full
        kept = decoder.layers * decoder.width * update.size + block
    kept += MASTER * (decoder.features + 2 * decoder.actions)
    return state + kept * update.tokens / (layout.data * layout.accumulate)


def sent(decoder: Decoder, update: Update, layout: Layout) -> tuple[float, float]:
    """Bytes of a run that go round a ring in one update, before the (n − 1) / n of a ring of n:
    of parameters over ``data``, and of activations over ``model``."""
    whole = decoder.parameters * MASTER / layout.model
    # An all-reduce of the gradient: sums out, sums back. With fsdp, for each part: parameters
    # gathered, gradients summed to their owners.
    over_data = 2 * whole * (layout.accumulate if layout.fsdp else 1)
    reduced = 5 if update.remat else 4  # the ends of both halves, forward and backward
    activations = update.tokens / layout.data * decoder.width * update.size
    return over_data, 2 * reduced * decoder.layers * activations


def limits(decoder: Decoder, update: Update, layout: Layout, device: Device) -> Limits:
    """The limits of an update of ``layout.runs`` runs by the closed formula.

    Raises:
        ValueError: the layout does not divide the work, or splits matrices over the network.
    """
    parts = layout.data * layout.accumulate
    if update.contexts % parts:
        raise ValueError(
            f"contexts {update.contexts} cannot be shared by data {layout.data} x accumulate "
            f"{layout.accumulate}; use a multiple of {parts}"
        )
    if decoder.heads % layout.model:
        raise ValueError(
            f"heads {decoder.heads} cannot be shared by model {layout.model}; use a divisor"
        )
    if layout.model > device.group:
        raise ValueError(
            f"model {layout.model}: fast links join {device.group} {device.label} only; split "
            "matrices over no more, and use data beyond"
        )
    over_data, over_model = sent(decoder, update, layout)
    near = min(layout.data, device.group // layout.model)
    far = math.ceil(layout.data / near)
    links = _ring(over_data, near) / device.link + _ring(over_model, layout.model) / device.link
    # Every device of a group has an adapter, and all of them serve the sums of the group.
    links += _ring(over_data * layout.model, far) / (device.group * device.network)
    return Limits(
        compute=layout.runs * executed(decoder, update) / layout.devices / device.peak,
        memory=layout.runs * traffic(decoder, update, layout) / device.bandwidth,
        links=layout.runs * links,
        held=layout.runs * held(decoder, update, layout),
    )


def runs_that_fit(decoder: Decoder, update: Update, layout: Layout, memory: float) -> int:
    """How many runs the devices of one can train side by side in ``memory`` bytes each; at least
    one. XLA holds more than the formula says, by up to ``SLACK``."""
    return max(1, int(memory / (SLACK * held(decoder, update, layout))))


def _ring(size: float, ranks: int) -> float:
    return size * (ranks - 1) / ranks
