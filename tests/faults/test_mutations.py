"""Configs and command lines with something wrong in them: one line that names the field, and no
trace on the disk."""

import dataclasses
import json
import math
import typing

import pytest

from experiments import cli
from experiments.config import CompareConfig
from experiments.creation import stored

KINDS = typing.get_type_hints(CompareConfig)
# What no field of a kind can be, as words and as JSON.
WORDS = {
    int: ("x", "1.5", "nan", "-7", "1e400"),
    float: ("x", "nan", "-inf", "1..5", "--"),
    bool: ("maybe", "2"),
    str: ("no such thing",),
    tuple: ("no such thing", "dark-room dark-room"),
}
VALUES = {
    int: (None, "7", 1.5, [1], -7, math.nan, 10**400),
    float: (None, "7", [1.0], math.nan, -math.inf, {}),
    bool: (None, "true", 1, 0.0, []),
    str: (None, 3, ["x"], "no such thing"),
    tuple: (None, 3, "dark-room", [1], ["no such thing"], [["dark-room"]], {"a": 1}),
}
ANY = {"out", "preset", "coordinator", "overwrite"}  # another test's, or any text will do
BELOW = {"process": ("-7",), "test_stickiness": ()}  # -1 stands for something


# What a message calls one of several.
ONE = {"arms": "arm", "readers": "reader", "families": "famil", "test_families": "famil"} | {
    "log": "tracker", "demonstrations": "demonstrations"
}  # fmt: skip


def kind_of(field: str) -> type:
    return KINDS[field] if KINDS[field] in (int, float, bool, str) else tuple


def lines() -> list[tuple[str, list[str]]]:
    found = []
    for field in KINDS:
        if field in ANY:
            continue
        flag = f"--{field.replace('_', '-')}"
        for word in WORDS[kind_of(field)]:
            own = word.split() if kind_of(field) is tuple else [word]
            joined = word.startswith("-") or kind_of(field) is bool
            words = [f"{flag}={word}"] if joined else [flag, *own]
            found.append((field, ["compare", *words]))
        found.append(
            (field[:-1], ["compare", f"{flag[:-1]}{'q' if flag[-1] != 'q' else 'z'}", "1"])
        )
    return found


def configs() -> list[tuple[str, dict]]:
    whole = {"command": "compare"} | stored(CompareConfig())
    found = []
    for field in KINDS:
        if field in ANY:
            continue
        found += [(field, whole | {field: value}) for value in VALUES[kind_of(field)]]
        if f"{field}s" not in KINDS:
            found.append((f"{field}s", whole | {f"{field}s": 1}))
    return found


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """refused(field, words) -> what is wrong with how a mistake is answered."""

    def reached(*_):
        raise AssertionError("JAX was reached")

    monkeypatch.chdir(tmp_path)
    for name in ("_prepare_jax", "_quiet_jax", "joined"):
        monkeypatch.setattr(cli, name, reached)

    def call(field: str, words: list[str]) -> str:
        before = sorted(str(x) for x in tmp_path.rglob("*"))
        try:
            code = cli.run(words)
        except BaseException as error:
            return f"{words}: {type(error).__name__}: {str(error)[:200]}"
        out, err = capsys.readouterr()
        said = err.replace("-", "_")
        named = field in said or ONE.get(field, field) in said
        if code != 2 or out or err.count("\n") != 1 or "Traceback" in err or not named:
            return f"{words}: {field}: exit {code}: {err[:300]}"
        after = sorted(str(x) for x in tmp_path.rglob("*"))
        return "" if before == after else f"{words}: something was made"

    return call


def test_there_are_three_hundred():
    assert len(lines()) + len(configs()) >= 300
    assert len(lines()) > 150 and len(configs()) > 150


def test_command_lines(refused):
    assert [answer for field, words in lines() if (answer := refused(field, words))] == []


def test_configs(refused, tmp_path):
    (tmp_path / "run").mkdir()
    found = []
    for field, config in configs():
        (tmp_path / "run" / "config.json").write_text(json.dumps(config))
        if answer := refused(field, ["resume", "run"]):
            found.append(f"{config.get(field)!r}: {answer}")
    assert found == []


def test_twin_without_checks_is_found(refused, monkeypatch):
    monkeypatch.setattr(cli, "check", lambda config: None)
    assert refused("zipf", ["compare", "--zipf", "nan"])


def test_a_config_is_all_fields():
    assert {field.name for field in dataclasses.fields(CompareConfig)} == KINDS.keys()
