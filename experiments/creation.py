"""The folder of a new run, made once nothing that a person gave can be wrong any more."""

from __future__ import annotations

import dataclasses
import shlex
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.config import CompareConfig
from experiments.errors import ConfigError
from experiments.families import BRIDGES
from experiments.folder import RunFolder
from experiments.processes import Processes
from experiments.progress import Progress

if TYPE_CHECKING:  # they need JAX
    from experiments.compare import Comparison


def create(
    config: CompareConfig, path: Path, arguments: list[str], progress: Progress
) -> Comparison:
    """A new run in its folder, with what is known before training: its config, and the experts of
    families that need one. Of several processes only the first makes the folder. The levels of the
    first seed are drawn, and beside that its training is being compiled.

    Args:
        config: as checked.
        path: where.
        arguments: the command line.
        progress: told of experts that are trained.

    Raises:
        ConfigError: a mistake that only building and drawing show; nothing is made.
    """
    from envs import durable
    from experiments import suite as suite_lib
    from experiments.compare import Comparison
    from experiments.experts import equip
    from experiments.feed import refuse

    progress.phases.watch()
    progress.phases.enter("generate")
    # Building and drawing may still find a mistake; nothing is touched before.
    with tempfile.TemporaryDirectory() as spare:
        experts = Path(spare) / "experts"
        own = config.families + config.test_families
        _blame(own, last="types")
        try:
            suite = equip(config, suite_lib.build(config), experts, progress)
            job = Comparison(config, RunFolder(path), progress, suite)
            job.compile_ahead(job.cells)
            job.levels(config.seed)
            if config.store:
                refuse(job)
        except Exception:
            _blame(own)
            raise
        if config.process > 0:
            return job
        folder = RunFolder.create(path, overwrite=config.overwrite)
        line = "levelburst compare " + " ".join(shlex.quote(word) for word in arguments)
        head = {"command": "compare", "command_line": line.strip()}
        # First: where the process is killed after this line, the run can be resumed.
        folder.write("config.json", head | stored(config))
        if experts.is_dir():
            with durable.new_folder(folder.path / "experts") as partial:
                shutil.copytree(experts, partial, dirs_exist_ok=True)
    folder.log([])
    return job


def stored(config: CompareConfig) -> dict[str, Any]:
    """What is kept of a config: all that says what to do, and nothing of where or by whom."""
    alone = dataclasses.asdict(Processes())
    return dataclasses.asdict(dataclasses.replace(config, out="", overwrite=False, **alone))


def _blame(names: tuple[str, ...], last: str = "") -> None:
    """Raises ConfigError where one of the families is a person's own and breaks the contract, of
    which the checks up to ``last``, that run nothing, are cheap; all by default."""
    from envs.contract import examine
    from envs.registry import lookup

    for name in names:
        module, colon, _ = name.partition(":")
        if not colon or module in BRIDGES:
            continue
        try:
            family = lookup(name)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        for found in examine(family):
            if found.fault:
                raise ConfigError(f"family {name!r}: {found.fault}") from None
            if found.check.name == last:
                break
