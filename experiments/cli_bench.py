"""The command ``levelburst bench``."""

from __future__ import annotations

import dataclasses
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.bench.sizes import PARTS, SIZES
from experiments.errors import ConfigError
from experiments.families import known

OUTPUT = ("bench.json", "bench.html")


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """Measures this project and its rivals in one run, taking turns. Parts may be given without
    their flag: `levelburst bench simulate train`."""

    parts: tuple[str, ...] = ()
    """simulate, contexts, train, decode, disk, compare, scale; all by default."""
    peers: bool = False
    """First install the rivals into an environment of their own, below ~/.cache/levelburst; once
    they are there, every benchmark takes them."""
    sizes: str = "full"
    """full; or toy, which measures nothing and shows that all of it runs."""
    repeats: int = 0
    """Timed goes of each side; 0 takes what the sizes say."""
    out: str = ""
    """Folder of bench.json and bench.html; by default runs/bench-TIME."""
    overwrite: bool = False
    """Replace the benchmark that the folder holds."""


def check(config: BenchConfig) -> None:
    """Checks all that can be checked without JAX.

    Raises:
        ConfigError: the first mistake found.
    """
    known("part", config.parts, tuple(PARTS))
    known("sizes", (config.sizes,), tuple(SIZES))
    if len(set(config.parts)) < len(config.parts):
        raise ConfigError(f"parts {' '.join(config.parts)}: a part stands twice; give each once")
    if not 0 <= config.repeats <= 1000:
        raise ConfigError(f"repeats {config.repeats}: use a number from 1 to 1000, or 0")


def run(
    arguments: list[str],
    parse: Callable[..., Any],
    fresh: Callable[[Path, str], Path],
    cores: Callable[[], int],
) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``bench``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.
        fresh: (folder, name) -> a path in it that does not exist yet.
        cores: how many this process may use.

    Raises:
        ConfigError: a person's mistake.
    """
    if arguments and not arguments[0].startswith("-"):
        arguments = ["--parts", *arguments]
    config: BenchConfig = parse(BenchConfig, "bench", arguments)
    check(config)
    path = Path(config.out or fresh(Path("runs"), "bench"))
    refuse(path, overwrite=config.overwrite)
    sizes = SIZES[config.sizes]
    sizes = dataclasses.replace(sizes, repeats=config.repeats or sizes.repeats)
    print(f"levelburst bench, sizes {config.sizes}; folder {path}", flush=True)
    from experiments.bench.peer import Peers

    peers = Peers.default()
    if config.peers:
        peers.install(_say)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import jax

    # One CPU device a core; no compiled program is taken from elsewhere: its time is measured.
    jax.config.update("jax_num_cpu_devices", cores())
    jax.config.update("jax_enable_compilation_cache", False)
    from experiments.bench.page import write_page
    from experiments.bench.run import run as measure
    from experiments.bench.table import text
    from experiments.folder import RunFolder

    line = " ".join(["levelburst bench", *map(shlex.quote, arguments)])
    settings = {"command": "bench", "command_line": line, **dataclasses.asdict(config)}
    head = {"config": settings, "sizes": dataclasses.asdict(sizes)}
    folder, found = RunFolder(path), {}
    for found in measure(config.parts or tuple(PARTS), sizes, peers, _say):
        folder.write("bench.json", {**head, **found})  # after each part: an end by Ctrl-C keeps it
        write_page(folder.read("bench.json"), path / "bench.html")
    print(f"\n{text(found)}\n\npage    {path / OUTPUT[1]}\nresults {path / OUTPUT[0]}")
    return 1 if any(part["reason"] for part in found["parts"].values()) else 0


def refuse(path: Path, *, overwrite: bool) -> None:
    """Finds out, and touches nothing, whether a benchmark may be written to a folder.

    Raises:
        ConfigError: it may not: it is a file, or holds something that is not to be overwritten.
    """
    near = next(p for p in (path, *path.absolute().parents) if p.exists())
    if not near.is_dir():
        raise ConfigError(f"--out {path}: {near} is a file; name a folder")
    if not os.access(near, os.W_OK):
        raise ConfigError(f"--out {path}: {near} may not be written to; name another folder")
    if near != path or not (held := {item.name for item in path.iterdir()}):
        return
    if not overwrite:
        raise ConfigError(f"--out {path} is not empty; name another folder or say --overwrite")
    if not held <= set(OUTPUT):
        raise ConfigError(f"--out {path} holds more than a benchmark; name another folder")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
