"""The command ``levelburst roofline``: what would limit an update on which accelerator."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, cast

from experiments.config import CompareConfig, check, with_suites
from experiments.devices import DEVICES, Device
from experiments.errors import ConfigError
from experiments.families import known
from experiments.presets import preset_in
from experiments.roofline import Decoder, Layout, Limits, executed, limits, products, update_of

HEADER = (
    "device",
    "limit",
    "compute",
    "memory",
    "links",
    "tokens/s",
    "% of peak",
    "device-hours",
    "GB a device",
)


@dataclasses.dataclass(frozen=True)
class RooflineConfig(CompareConfig):
    """Predicts from sizes alone what limits an update on an accelerator, how fast it can be at best
    and what it needs of the device's memory. Every setting of `levelburst compare` is a flag."""

    device: tuple[str, ...] = tuple(DEVICES)
    """Accelerators: h100, h200, v5e, v6e."""
    fused: bool = True
    """Attention in bfloat16 keeps its scores on the chip (cuDNN, Pallas) instead of in memory."""
    sources: bool = False
    """Say where the figures of each device come from."""
    compile: bool = False
    """Also compile the update on this machine and print what XLA counts in it; it is not run.
    Seconds at the size of quick, minutes at that of paper."""


def run(arguments: list[str], parse: Callable[..., Any], prepare: Callable[[], None]) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``roofline``.
        parse: (dataclass, command, words, default) -> the dataclass, read from flags.
        prepare: what is done before JAX is imported.

    Raises:
        ConfigError: a person's mistake.
    """
    default = RooflineConfig(**dataclasses.asdict(preset_in(arguments, "paper")))
    given = parse(RooflineConfig, "roofline", arguments, default)
    config = cast(RooflineConfig, with_suites(given))
    check(config)
    devices = _devices(config)
    prepare()
    from agents import tokens
    from experiments import suite as suite_lib

    face = suite_lib.build(config).interface
    features = tokens.width(face.fields, face.symbols, face.actions)
    decoder = _decoder(config, features, face.actions)
    print(table(config, decoder, devices))
    if config.compile:
        print(f"\n{_compiled(config, decoder)}")
    return 0


def _devices(config: RooflineConfig) -> list[Device]:
    """The devices, after all checks that need neither JAX nor the families' sizes."""
    known("device", config.device, tuple(DEVICES))
    for field in ("data", "model", "accumulate"):
        if getattr(config, field) < 1:
            raise ConfigError(f"{field} {getattr(config, field)}: use a number of 1 or more")
    if config.observations != "symbols":
        raise ConfigError("observations 'pixels': only models of symbols are counted; use symbols")
    chosen = [DEVICES[name] for name in config.device]
    for device in chosen:  # the model's ends matter to no check
        _limits(config, _decoder(config, 1, 1), device)
    return chosen


def _decoder(config: RooflineConfig, features: int, actions: int) -> Decoder:
    return Decoder(config.width, config.layers, config.heads, features, actions)


def _limits(config: RooflineConfig, decoder: Decoder, device: Device) -> Limits:
    layout = Layout(
        config.data, config.model, config.fsdp, config.accumulate, config.runs_per_device or 1
    )
    try:
        return limits(decoder, update_of(config, config.fused), layout, device)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def table(config: RooflineConfig, decoder: Decoder, devices: list[Device]) -> str:
    """The prediction as text: a line a device."""
    update = update_of(config, config.fused)
    work, done = products(decoder, update), executed(decoder, update)
    runs, each = config.runs_per_device or 1, config.data * config.model
    kinds = [config.dtype, "fused attention" if update.fused else "attention through memory"]
    kinds += ["blocks done again in the backward pass"] * config.remat
    sharing = [f"data {config.data}", f"model {config.model}", f"accumulate {config.accumulate}"]
    sharing += ["fsdp"] * config.fsdp + [f"{runs} runs side by side"] * (runs > 1)
    head = (
        f"{config.layers} blocks of width {config.width}, {config.heads} heads: "
        f"{decoder.parameters:,} parameters",
        f"{config.contexts} contexts of {update.length:,} positions; {', '.join(kinds)}",
        f"a token: {_digits(work / update.tokens / 1e6)}M operations, "
        f"{_digits(done / update.tokens / 1e6)}M with those done again; an update: {work:.3g}",
        f"{', '.join(sharing)}: {each} device{'s' * (each > 1)} a run",
    )
    found = {device.name: _limits(config, decoder, device) for device in devices}
    cells = [_cells(config, work, device, found[device.name]) for device in devices]
    notes = [
        "Predicted from sizes, not measured. A range runs from nothing overlapping to everything.",
        f"Device-hours are those of {len(config.arms)} arms x {config.seeds} seeds x "
        f"{config.updates:,} updates, training only.",
    ]
    if config.dtype != "bfloat16":
        notes.append("Peaks are those of bfloat16; float32 products run below them.")
    if any(found[device.name].held > device.memory for device in devices):
        notes.append("! does not fit: try --remat, --accumulate, --fsdp with --data, or --model.")
    if min(limit.longest for limit in found.values()) < 1e-3:
        notes.append(
            "Under a millisecond an update mostly waits for its kernels to start, which is not "
            "counted here: raise --runs-per-device."
        )
    if config.sources:
        notes += [f"{device.label}: {device.source}" for device in devices]
    return "\n".join([*head, "", *_aligned([HEADER, *cells]), "", *notes])


def _cells(config: RooflineConfig, work: float, device: Device, found: Limits) -> tuple[str, ...]:
    """A device's row: ranges run from the slowest to the fastest, hours from few to many."""
    runs, each = config.runs_per_device or 1, config.data * config.model
    times = (found.longest, found.shortest)
    tokens = runs * config.contexts * config.slots * config.horizon
    shares = [100 * runs * work / each / device.peak / time for time in times]
    updates = config.updates * len(config.arms) * config.seeds / runs
    hours = [updates * time * each / 3600 for time in reversed(times)]
    return (
        device.label,
        found.name,
        *(f"{_digits(1e3 * seconds)} ms" for seconds in (found.compute, found.memory, found.links)),
        " … ".join(_short(tokens / time) for time in times),
        " … ".join(f"{share:.0f}" for share in shares),
        " … ".join(_digits(hour) for hour in hours),
        f"{_digits(found.held / 1e9)} of {device.memory / 1e9:.0f}"
        + " !" * (found.held > device.memory),
    )


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """The rows as lines: the first two columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "   ".join(
            cell.ljust(width) if index < 2 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def _digits(number: float) -> str:
    """Three digits or all that stand before the point, without an exponent."""
    return f"{number:,.0f}" if number >= 999.5 else f"{number:.3g}"


def _short(rate: float) -> str:
    """Three digits, in thousands or millions."""
    return f"{_digits(rate / 1e6)}M" if rate >= 999_500 else f"{_digits(rate / 1e3)}k"


def _compiled(config: RooflineConfig, decoder: Decoder) -> str:
    """What XLA counts in the update of the first arm, compiled for the first device at hand."""
    import jax

    from experiments.counted import count, traced_update

    try:
        found = count(traced_update(config).lower().compile())
    except ValueError as error:
        raise ConfigError(f"--compile: {error}; leave it out") from None
    formula = executed(decoder, update_of(config, fused=False))
    return (
        f"compiled for {jax.devices()[0].device_kind}: {found.operations:.3e} operations, "
        f"{found.operations / formula:.2f} x the formula's matrix products with attention through "
        f"memory; {found.traffic:.2e} bytes accessed; {found.arguments / 1e6:.1f} MB of arguments, "
        f"{found.held / 1e6:.1f} MB at the peak"
    )
