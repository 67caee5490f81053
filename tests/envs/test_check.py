"""The contract's checks, run in order: every family passes, and what is broken holds others up."""

import pytest

import envs
from envs.contract import CHECKS, examine
from envs.contract.faults import Inapplicable
from envs.contract.specimen import Specimen
from envs.core import Env
from tests.envs.corridor import LOOK, Corridor, State, twin


@pytest.mark.parametrize("name", envs.names())
def test_every_family_keeps_the_contract(name):
    findings = list(examine(envs.make(name)))
    assert [f"{f.check.name}: {f.fault}" for f in findings if f.fault] == []
    assert [f.check for f in findings] == list(CHECKS)
    assert {f.check.name for f in findings if f.note} <= {"symmetries", "picture", "text"}


def test_a_family_in_a_few_lines_keeps_the_contract():
    assert [f for f in examine(Corridor) if f.fault or f.note] == []


def test_what_cannot_be_enumerated_is_checked_for_the_rest():
    found = {f.check.name: f for f in examine(twin(num_states=0, draw=Env.draw))}
    assert not any(f.fault for f in found.values())
    unsaid = {name for name, f in found.items() if f.note}
    assert unsaid == {"start", "codes", "table", "solvable", "picture", "text"}


def test_what_hangs_on_a_broken_check_waits():
    found = {
        f.check.name: f for f in examine(twin(decode=lambda self, level, index: State(0 * index)))
    }
    assert [name for name, f in found.items() if f.fault] == ["codes"]
    assert "decode" in found["codes"].fault
    assert {name: f.waits for name, f in found.items() if f.waits} == dict.fromkeys(
        ("table", "solvable", "many", "symmetries"), "codes"
    )


def test_nothing_to_check_is_said():
    with pytest.raises(Inapplicable, match="symmetries is not defined"):
        LOOK["symmetries"](Specimen(twin(symmetries=Env.symmetries)))
