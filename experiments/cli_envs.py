"""The command ``levelburst envs``: the families listed, as a page of pictures, drawn, checked."""

from __future__ import annotations

import ast
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from experiments.errors import ConfigError
from experiments.families import built_in, check_families, expand

LAST = 2**16  # the levels that can be shown


@dataclasses.dataclass(frozen=True)
class EnvsConfig:
    """Lists the families. `levelburst envs show NAME` draws a level in the terminal, and
    `levelburst envs check NAME` runs the contract over a family of one's own."""

    families: tuple[str, ...] = ()
    """Families, suites or `module:Class`; all built-in ones by default."""
    gallery: bool = False
    """Write one page with a picture, a film of the oracle and the documentation of each, and beside
    it a sheet of the pictures."""
    out: str = ""
    """Where the page goes: a folder, or a file that ends in .html; by default ./gallery.html."""


@dataclasses.dataclass(frozen=True)
class ShowConfig:
    """Draws one level in the terminal."""

    family: str
    """A built-in family or `module:Class`; the flag may be left out."""
    level: int = 0
    """Which of the family's admitted levels, from 0."""
    set: tuple[str, ...] = ()
    """Fields in place of the defaults, as in `--set size=9 density=0.3`."""
    gif: str = ""
    """A file to write the oracle's episode to, ending in .gif."""
    png: str = ""
    """A file to write the picture to, ending in .png."""


@dataclasses.dataclass(frozen=True)
class CheckConfig:
    """Runs the contract of a family; exit code 1 where it is broken."""

    families: tuple[str, ...] = ()
    """Families, suites or `module:Class`; the flag may be left out; by default all built-in."""
    set: tuple[str, ...] = ()
    """Fields in place of the defaults, as in `--set size=9`."""


Parse = Callable[..., Any]


def run(arguments: list[str], parse: Parse, prepare: Callable[[], None]) -> int:
    """Runs the command and returns the exit code.

    Args:
        arguments: the words after ``envs``.
        parse: (dataclass, command, words) -> the dataclass, read from flags.
        prepare: what is done before JAX is imported.

    Raises:
        ConfigError: a person's mistake.
    """
    word, rest = (arguments[0].lower(), arguments[1:]) if arguments else ("", [])
    if word == "show":
        return _show(parse(ShowConfig, "envs show", _flag("--family", rest)), prepare)
    if word == "check":
        return _check(parse(CheckConfig, "envs check", _flag("--families", rest)), prepare)
    if word and not word.startswith("-"):
        raise ConfigError(
            f"envs: unknown word {arguments[0]!r}; use show NAME, check NAME, --gallery or "
            "--families"
        )
    return _list(parse(EnvsConfig, "envs", arguments), prepare)


def _list(given: EnvsConfig, prepare: Callable[[], None]) -> int:
    names = _names(given.families)
    if given.out and not given.gallery:
        raise ConfigError(f"--out {given.out}: only a page is written; say --gallery, too")
    target = _target(given.out, ".html", "gallery.html") if given.gallery else None
    prepare()
    from experiments.catalogue import block, entry

    found = [(name, made(name, {})) for name in names]
    if target is None:
        print("\n\n".join(_attempt(n, lambda n, e: block(entry(n, e)), n, env) for n, env in found))
        return 0
    from experiments.gallery import card, write_gallery
    from experiments.sheet import write_sheet

    cards = []
    for number, (name, env) in enumerate(found, 1):
        print(f"[{number}/{len(found)}] {name}", flush=True)
        cards.append(_attempt(name, lambda n, e: card(entry(n, e)), name, env))
    print(f"gallery {write_gallery(cards, target)}")
    print(f"sheet   {write_sheet(cards, target.with_suffix('.png'))}")
    return 0


def _show(given: ShowConfig, prepare: Callable[[], None]) -> int:
    check_families((given.family,))
    fields = settings(given.set)
    if not 0 <= given.level < LAST:
        raise ConfigError(f"level {given.level}: use a number from 0 to {LAST - 1}")
    gif = _target(given.gif, ".gif") if given.gif else None
    png = _target(given.png, ".png") if given.png else None
    prepare()
    from experiments.show import show

    env = made(given.family, fields)
    title = f"{given.family}, level {given.level}"
    _attempt(given.family, show, title, env, given.level, gif, png)
    return 0


def _check(given: CheckConfig, prepare: Callable[[], None]) -> int:
    names = _names(given.families)
    fields = settings(given.set)
    prepare()
    from experiments.show import report

    found = [(name, _subject(name, fields)) for name in names]
    return 0 if all([report(name, subject) for name, subject in found]) else 1


def _names(given: tuple[str, ...]) -> tuple[str, ...]:
    """The families, suites taken apart; the built-in ones where none is given."""
    names = dict.fromkeys(expand(given, "train") + expand(given, "test"))
    check_families(tuple(names))
    return tuple(names) or built_in()


def _subject(name: str, fields: dict[str, Any]) -> Any:
    """What is to be checked: an environment, or the class where it cannot even be made."""
    try:
        return made(name, fields)
    except ConfigError:
        module, _, attribute = name.partition(":")
        found = getattr(sys.modules.get(module), attribute, None)
        if found is None or fields:
            raise
        return found


def made(name: str, fields: dict[str, Any]) -> Any:
    """The environment of a family with fields in place of its defaults."""
    import envs

    try:
        env = envs.make(name)
        for field, value in fields.items():
            default = getattr(env, field, value)
            fits = type(value) is type(default) or (
                isinstance(default, float) and isinstance(value, int)
            )
            if not fits:
                kind = type(default).__name__
                raise ConfigError(f"--set {field}={value}: {field} is of type {kind}")
        return envs.make(name, **fields) if fields else env
    except ConfigError:
        raise
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except Exception as error:
        raise _broken(name, error) from None


def _attempt(name: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """``function(*arguments)``; what a person's family breaks becomes one line."""
    try:
        return function(*arguments)
    except (ConfigError, OSError):
        raise
    except ValueError as error:
        raise ConfigError(f"{name}: {error}") from None
    except Exception as error:
        raise _broken(name, error) from None


def _broken(name: str, error: Exception) -> ConfigError:
    first = (str(error).strip() or "no message").splitlines()[0]
    return ConfigError(
        f"{name} breaks the contract of a family ({type(error).__name__}: {first[:200]}); "
        f"levelburst envs check {name} says what to mend"
    )


def settings(words: tuple[str, ...]) -> dict[str, Any]:
    """Fields from ``name=value``; values are Python's literals, or else words."""
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not (name.isidentifier() and equals and text):
            raise ConfigError(f"--set {word}: write name=value, as in --set size=9 density=0.3")
        try:
            found[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            found[name] = text
    return found


def _target(word: str, ending: str, default: str = "") -> Path:
    """The file that a word names; the ``default`` of the folder that it names."""
    path = Path(word)
    if default and path.suffix != ending:
        path = path / default
    if path.suffix != ending:
        raise ConfigError(f"{word}: name a file that ends in {ending}")
    near = next(p for p in path.absolute().parents if p.exists())
    if path.is_dir() or not near.is_dir():
        wrong = path if path.is_dir() else near
        kind = "a folder" if path.is_dir() else "a file"
        raise ConfigError(f"{word}: {wrong} is {kind}; name another file")
    return path


def _flag(flag: str, words: list[str]) -> list[str]:
    """Lets the first words be given without their flag."""
    return [flag, *words] if words and not words[0].startswith("-") else words
