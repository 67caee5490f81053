"""``levelburst signals``: step signals graded against the oracle, and learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.errors import ConfigError
from experiments.signals.config import PRESETS, SignalsConfig, check

WORDS = ("grade", "train")
USAGE = """usage: levelburst signals grade | train [--method NAME …] [--family NAME] [OPTIONS]

  grade   how near each method's credit comes to the exact advantage, at equal actions
  train   how far a policy comes that learns from it, at equal actions

methods:"""


def run(arguments: list[str], parse: Callable[..., Any], prepare: Callable[[], None]) -> int:
    """Runs the command; returns the exit code."""
    if not arguments:
        prepare()
        print(USAGE)
        from icl.signals.registry import entries

        width = max(map(len, entries()))
        for name, entry in entries().items():
            print(f"  {name:<{width}}  {entry.about}")
        return 0
    word, *rest = arguments
    if word not in WORDS:
        raise ConfigError(f"signals: unknown word {word!r}; use {' or '.join(WORDS)}")
    given: SignalsConfig = parse(SignalsConfig, f"signals {word}", rest, _preset(rest))
    check(given)
    root = Path(given.out or f"runs/signals-{given.preset}")
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {root} is a file; name a folder")
    prepare()
    return _measure(word, given, root, rest)


def _preset(arguments: Sequence[str]) -> SignalsConfig:
    """What the other flags build on."""
    name = "quick"
    for index, argument in enumerate(arguments):
        if argument == "--preset" and index + 1 < len(arguments):
            name = arguments[index + 1]
        elif argument.startswith("--preset="):
            name = argument.partition("=")[2]
    if name not in PRESETS:
        raise ConfigError(f"unknown preset {name!r}; use {', '.join(PRESETS)}")
    return PRESETS[name]


def _measure(word: str, given: SignalsConfig, root: Path, arguments: Sequence[str]) -> int:
    import jax

    from experiments.folder import RunFolder, environment
    from experiments.signals.cells import kept
    from experiments.signals.page import write_signals
    from experiments.signals.table import lines

    folder, rows = RunFolder(root), []
    for method in given.method:
        for seed in range(given.seed, given.seed + given.seeds):
            values, _ = kept(folder, word, given, method, seed)
            rows.append({"method": method, "seed": seed} | values)
        told = lines(word, rows)
        print("\n".join(told if method == given.method[0] else told[-1:]), flush=True)
    command = " ".join(["levelburst", "signals", word, *arguments])
    found = {
        "schema": 1,
        "command": f"signals {word}",
        "command_line": command,
        "config": dataclasses.asdict(given),
        "environment": environment(jax.devices()),
        "rows": rows,
        "verdicts": [],
    }
    folder.write(f"{word}/results.json", found)
    print(f"\nresults {root / word / 'results.json'}")
    print(f"report  {write_signals(root / word)}")
    return 0
