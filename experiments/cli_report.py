"""``levelburst report``: the page of what a folder holds again, or one page about several runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments import jsonfile
from experiments.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """Writes the page of a run, of a study or of step signals again; of several runs, one page that
    compares them: the first is what the others are held against."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """Folders of runs, or of one study (runs/study-quick/NAME), or of one grade, training or
    question of step signals (runs/signals-quick/NAME)."""
    out: Path = Path("comparison.html")
    """Where the page about several runs goes."""


def run(
    arguments: list[str],
    parse: Callable[..., Any],
    load: Callable[[Path], tuple[Any, Any]],
    conclude: Callable[[Path, dict[str, Any]], None],
) -> int:
    """Runs the command; returns the exit code."""
    given: ReportConfig = parse(ReportConfig, "report", arguments)
    paths = list(given.runs)
    if not paths:
        raise ConfigError("report: name the folder of a run, of a study, or of several runs")
    if len(paths) > 1:
        return _several(given)
    (path,) = paths
    writer = _writer(path)
    if writer:
        return _written(path, lambda: print(f"report  {writer(path)}"))
    _, folder = load(path)
    if not (path / "results.json").is_file():
        raise ConfigError(
            f"{path / 'results.json'} is missing: the run is not finished; "
            f"go on with: levelburst resume {path}"
        )
    return _written(path, lambda: conclude(folder.path, folder.read("results.json")))


def _several(given: ReportConfig) -> int:
    from experiments.runs import locate
    from experiments.runs_report import write_comparison

    if given.out.is_dir():
        raise ConfigError(f"--out {given.out} is a folder; name a file, as comparison.html")
    given.out.absolute().parent.mkdir(parents=True, exist_ok=True)
    page = write_comparison([locate(path) for path in given.runs], given.out)
    print(f"report  {page}")
    return 0


def _written(path: Path, write: Callable[[], None]) -> int:
    try:
        write()
    except ConfigError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{path / 'results.json'} cannot be drawn: {error}; levelburst resume {path} (or the "
            "study's command) makes it again"
        ) from None
    return 0


def _writer(path: Path) -> Callable[[Path], Path] | None:
    """Who writes the page of what is no run of its own; None of a run."""
    try:
        stored = jsonfile.read(path / "results.json")
        command = stored["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if command == "study":
        from experiments.study_report import write_study

        return write_study
    if command == "signals plot":
        from experiments.signals.question_page import write_question

        return write_question
    if command in ("signals grade", "signals train"):
        from experiments.signals.page import write_signals

        return write_signals
    return None
