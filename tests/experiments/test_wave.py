"""How many runs go side by side, by a device's memory."""

import dataclasses

import pytest

from agents.transformer import Interface
from experiments.presets import preset
from experiments.wave import wave_of
from icl.parallel import Layout

FACE = Interface(fields=2, symbols=50, actions=4)
MANY = dataclasses.replace(preset("quick"), seeds=32, arms=("bursty", "isolated-chunks"))


@dataclasses.dataclass(frozen=True)
class Machine(Layout):
    """Four devices of so many bytes."""

    memory: int | None = None
    process_index = 0

    def used(self):
        return [self] * 4

    def memory_stats(self):
        return None if self.memory is None else {"bytes_limit": self.memory}


def test_a_cpu_trains_one_run_a_core():
    assert wave_of(MANY, FACE, Machine()) == 4


def test_an_accelerator_trains_all_that_fit_and_no_more_than_there_are():
    assert wave_of(MANY, FACE, Machine(memory=80 * 10**9)) == 64
    few = [wave_of(MANY, FACE, Machine(memory=gb * 10**9)) for gb in (1, 2, 4)]
    assert few == sorted(few) and few[0] < few[-1] < 64
    assert all(count % 4 == 0 for count in few)
    assert wave_of(MANY, FACE, Machine(memory=1)) == 4  # at least one
    assert wave_of(preset("paper"), FACE, Machine(memory=16 * 10**9)) == 4


def test_what_a_person_says_holds():
    config = dataclasses.replace(MANY, runs_per_device=3)
    assert wave_of(config, FACE, Machine(memory=1)) == 12


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_wave_is_not_padded_beyond_its_devices(seeds):
    config = dataclasses.replace(MANY, seeds=seeds)
    assert wave_of(config, FACE, Machine(memory=80 * 10**9)) == -(-2 * seeds // 4) * 4


def test_devices_that_share_a_run_count_once():
    shared = Machine(memory=80 * 10**9, data=2)
    assert wave_of(dataclasses.replace(MANY, data=2), FACE, shared) == 64
    assert wave_of(dataclasses.replace(MANY, data=2, seeds=1), FACE, shared) == 2
