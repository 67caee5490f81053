"""How many runs of a comparison are trained at the same time."""

from __future__ import annotations

import math

import jax

from agents import tokens
from agents.transformer import Interface
from experiments.config import CompareConfig
from experiments.roofline import Decoder, runs_that_fit, update_of
from experiments.roofline import Layout as Shares
from icl.parallel import Layout


def wave_of(config: CompareConfig, interface: Interface, layout: Layout) -> int:
    """Runs side by side in one program: a whole number on each group of devices. Where the config
    leaves it open, as many as fit the memory of an accelerator, but no more than there are to
    train; on CPU one, so that a wave that is cut short loses little."""
    groups = layout.groups
    if config.runs_per_device:
        return groups * config.runs_per_device
    # Devices of other processes do not tell.
    own = next(x for x in layout.used() if x.process_index == jax.process_index())
    memory = (own.memory_stats() or {}).get("bytes_limit", 0)
    if not memory or interface.pixels:  # the formula knows no pictures
        return groups
    features = tokens.width(interface.fields, interface.symbols, interface.actions)
    decoder = Decoder(config.width, config.layers, config.heads, features, interface.actions)
    shares = Shares(config.data, config.model, config.fsdp, config.accumulate)
    each = runs_that_fit(decoder, update_of(config), shares, memory)
    return groups * min(each, math.ceil(len(config.arms) * config.seeds / groups))
