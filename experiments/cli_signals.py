"""``levelburst signals``: step signals graded against the oracle, and learned from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import tyro

from experiments.errors import ConfigError
from experiments.families import known
from experiments.presets import named_in
from experiments.signals.config import PRESETS, SignalsConfig, VoteConfig, check, check_vote

USAGE = """usage: levelburst signals grade | train [--method NAME …] [--family NAME] [OPTIONS]
       levelburst signals vote [--regime NAME …] [--budget K] [OPTIONS]
       levelburst signals plot QUESTION … | all [--preset smoke | quick | full]

  grade   how near each method's credit comes to the exact advantage, at equal actions
  train   how far a policy comes that learns from it, at equal actions
  vote    what votes by confidence get right and save, of runs that break down
  plot    the answers to a question, with intervals, as one picture"""


@dataclasses.dataclass(frozen=True)
class PlotConfig:
    """Asks questions of step signals. What is there already is not computed again, so what was cut
    short goes on with the same command."""

    names: Annotated[tuple[str, ...], tyro.conf.Positional] = ()
    """Questions, or `all`."""
    preset: str = "quick"
    """smoke, quick (5 seeds) or full (10 seeds, 4 times as many levels and repetitions)."""
    seeds: int = 0
    """Seeds of every setting; 0 keeps the preset's."""
    out: str = ""
    """Folder of the results, by default runs/signals-PRESET."""


def run(arguments: list[str], parse: Callable[..., Any], prepare: Callable[[], None]) -> int:
    """Runs the command; returns the exit code."""
    if not arguments or arguments[0] in ("-h", "--help"):
        prepare()
        from experiments.signals.questions import QUESTIONS
        from icl.signals.registry import entries

        width = max(map(len, entries()))
        print(f"{USAGE}\n\nmethods:")
        for name, entry in entries().items():
            print(f"  {name:<{width}}  {entry.about}")
        print("\nquestions:")
        for question in QUESTIONS.values():
            print(f"  {question.name:<{width}}  {question.text}")
        return 0
    word, *rest = arguments
    if word == "plot":
        return _plot(parse(PlotConfig, "signals plot", rest), prepare)
    if word == "vote":
        return _vote(parse(VoteConfig, "signals vote", rest), prepare, rest)
    if word not in ("grade", "train"):
        raise ConfigError(f"signals: unknown word {word!r}; use grade, train, vote or plot")
    given: SignalsConfig = parse(
        SignalsConfig, f"signals {word}", rest, _base(named_in(rest, "quick"))
    )
    check(given)
    root = _root(given.out, given.preset)
    prepare()
    return _measure(word, given, root, rest)


def _root(out: str, preset: str) -> Path:
    root = Path(out or f"runs/signals-{preset}")
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {root} is a file; name a folder")
    return root


def _base(preset: str) -> SignalsConfig:
    known("preset", (preset,), tuple(PRESETS))
    return PRESETS[preset]


def _measure(word: str, given: SignalsConfig, root: Path, arguments: Sequence[str]) -> int:
    import jax

    from experiments.folder import RunFolder, environment
    from experiments.signals import growth
    from experiments.signals.cells import fits, kept
    from experiments.signals.page import write_signals
    from experiments.signals.table import lines, off

    folder, rows = RunFolder(root), []
    fits(word, given)  # before anything is written
    for method in given.method:
        for seed in range(given.seed, given.seed + given.seeds):
            cell = kept(folder, word, given, method, seed)
            rows.append({"method": method, "seed": seed} | cell.values)
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
    if word == "grade":
        for line in off(rows, given.budget):
            print(line)
        growth.write(folder, given)
    folder.write(f"{word}/results.json", found)
    print(f"\nresults {root / word / 'results.json'}")
    print(f"report  {write_signals(root / word)}")
    return 0


def _vote(given: VoteConfig, prepare: Callable[[], None], arguments: Sequence[str]) -> int:
    check_vote(given)
    root = _root(given.out, "")
    prepare()
    from experiments.signals.answers import answer
    from experiments.signals.confidence import check_poll
    from experiments.signals.question_page import write_question
    from experiments.signals.table import votes
    from experiments.signals.vote import question

    check_poll(given)
    command = " ".join(["levelburst", "signals", "vote", *arguments])
    found = answer(question(given), given, root, command, print)
    print("\n" + "\n".join(votes(found["rows"])))
    print(f"\nresults {root / 'vote/results.json'}")
    print(f"report  {write_question(root / 'vote')}")
    return 0


def _plot(given: PlotConfig, prepare: Callable[[], None]) -> int:
    from experiments.signals.questions import QUESTIONS

    if not given.names:
        raise ConfigError(f"signals plot: name a question of {', '.join(QUESTIONS)}, or all")
    known("question", given.names, (*QUESTIONS, "all"))
    names = list(QUESTIONS) if "all" in given.names else list(dict.fromkeys(given.names))
    base = _base(given.preset)
    if given.seeds < 0:
        raise ConfigError(f"seeds {given.seeds}: use a number of 1 or more, or 0 for the preset's")
    base = dataclasses.replace(base, seeds=given.seeds or base.seeds)
    root = _root(given.out, given.preset)
    prepare()
    from experiments.signals.answers import answer
    from experiments.signals.question_page import write_question
    from experiments.summary import verdict_lines

    for name in names:
        own = f" --seeds {given.seeds}" if given.seeds else ""
        own += f" --out {given.out}" if given.out else ""
        command = f"levelburst signals plot {name} --preset {given.preset}{own}"
        found = answer(QUESTIONS[name], base, root, command, print)
        print(f"\n{name}: {QUESTIONS[name].text}")
        print("\n".join(verdict_lines(found["verdicts"])))
        print(f"report  {write_question(root / name)}")
    return 0
