"""What every test shares: eight fake CPU devices, and a Ctrl-C that is heard."""

import signal
from pathlib import Path

import jax
import pytest

jax.config.update("jax_num_cpu_devices", 8)  # before JAX starts

# A shell that runs the suite in the background has it ignore Ctrl-C, and its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Linux lets a process hold 65,530 memory maps (vm.max_map_count); a compiled program takes
    several, and XLA ends in a segmentation fault where none is left. So a worker that has compiled
    a lot forgets its programs between two files."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 15_000:
        jax.clear_caches()
