"""A run that is resumed under another config: refused, field by field, before JAX."""

import dataclasses
import json

import pytest

from experiments import cli, positions
from experiments.creation import stored
from tests.faults.runs import TINY


@pytest.fixture
def changed(tmp_path, monkeypatch, capsys):
    """changed(**fields) -> (exit code, standard error) of resuming a run whose config has them."""

    def reached(*_):
        raise InterruptedError("JAX was reached")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_prepare_jax", reached)
    place = tmp_path / "run" / "training" / "bursty-seed0" / "8"
    place.mkdir(parents=True)
    notes = {"notes": {"settings": positions.settings(TINY)}}
    (place / "notes.json").write_text(json.dumps(notes))

    def call(*words: str, **fields):
        config = dataclasses.replace(TINY, **fields)
        text = json.dumps({"command": "compare"} | stored(config))
        (tmp_path / "run" / "config.json").write_text(text)
        code = cli.run(["resume", "run", *words])
        return code, capsys.readouterr().err

    return call


REFUSED = {
    "learning_rate": 0.02,
    "updates": 40,
    "width": 16,
    "seeds": 2,
    "contexts": 8,
    "families": ("teleporters",),
    "stickiness": 0.3,
    "method": "return-conditioned",
    "rewards": False,
    "report_every": 2,
    "accumulate": 2,
    "zipf": 1.0,
}

ALONE = ("method", "families")  # which do not go with the others
MANY = {field: value for field, value in REFUSED.items() if field not in ALONE}


@pytest.mark.parametrize("field", REFUSED)
def test_a_change_is_refused_by_name(changed, field):
    code, err = changed(**{field: REFUSED[field]})
    now = REFUSED[field]
    old, new = (list(x) if isinstance(x, tuple) else x for x in (getattr(TINY, field), now))
    assert code == 2 and err.count("\n") == 1
    assert f"run was trained under another config: {field} {old!r} is now {new!r};" in err


def test_every_difference_is_shown(changed):
    code, err = changed(**MANY)
    assert code == 2 and [field for field in MANY if f" {field} " not in err] == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("save_every", 5.0), ("keep", 7), ("devices", 2), ("log", ("tensorboard",))],
)
def test_how_and_where_it_runs_may_change(changed, field, value):
    code, err = changed(**{field: value})
    assert code == 1 and "JAX was reached" in err


def test_one_asked_for_by_number_has_to_be_there(changed):
    code, err = changed("--checkpoint", "12")
    assert code == 2 and "checkpoint 12: run has no such one" in err and "there are: 8" in err
    code, err = changed("--checkpoint", "8")
    assert code == 1 and "JAX was reached" in err


def test_twin_that_compares_nothing_is_found(changed, monkeypatch):
    monkeypatch.setattr(positions, "refuse_changed", lambda *_: None)
    code, err = changed(**MANY)
    assert code == 1 and "JAX was reached" in err


def test_a_store_is_told_by_what_it_holds(changed, tmp_path):
    """Another place is no change; other content is one."""
    for name, content in (("here", "1"), ("there", "1"), ("grown", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text(content)
    config = dataclasses.replace(TINY, store=str(tmp_path / "here"))
    notes = {"notes": {"settings": positions.settings(config)}}
    (tmp_path / "run/training/bursty-seed0/8/notes.json").write_text(json.dumps(notes))
    for name in ("here", "there"):
        assert changed(store=str(tmp_path / name)) == (1, "levelburst: JAX was reached\n")
    code, err = changed(store=str(tmp_path / "grown"))
    assert code == 2 and "store 'SHA-256 6b86b273" in err and "is now 'SHA-256 d4735e3a" in err
