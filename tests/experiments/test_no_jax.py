"""Help and mistakes do not wait for JAX; a family of one's own is found where one stands."""

import dataclasses
import subprocess
import sys

import pytest

from experiments.config import CompareConfig

HEAVY = (
    *("jax", "flax", "optax", "orbax", "gymnasium", "matplotlib", "plotly", "ray", "optuna"),
    *("wandb", "trackio", "tensorboard", "scipy.stats"),
)
ASK = f"""
import sys
from experiments.cli import main
try:
    main()
finally:
    print("heavy:", *sorted(set(sys.modules) & set({HEAVY!r})), file=sys.stderr)
"""


@pytest.fixture
def heavy(tmp_path, environment):
    """heavy(words) -> (exit code, standard output, heavy packages that were imported)."""

    def ask(words: str) -> tuple[int, str, list[str]]:
        command = [sys.executable, "-c", ASK, *words.split()]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
        )
        *_, last = done.stderr.splitlines()
        assert last.startswith("heavy:"), done.stderr
        return done.returncode, done.stdout, last.split()[1:]

    return ask


@pytest.mark.parametrize(
    "command",
    ["compare", "resume", "evaluate", "report", "envs", "roofline", "bench", "sweep", "runs"],
)
def test_help_is_light(heavy, command):
    code, out, found = heavy(f"{command} --help")
    assert (code, found) == (0, [])
    assert f"usage: levelburst {command}" in out


@pytest.mark.parametrize("words", ["", "--help", "-h"])
def test_usage_is_light_and_names_every_command(heavy, words):
    code, out, found = heavy(words)
    assert (code, found) == (0 if words else 2, [])
    for command in (
        "compare",
        "resume RUN",
        "evaluate RUN",
        "report RUN",
        "envs",
        "roofline",
        "bench",
        "sweep SPEC",
        "runs",
    ):
        assert f"\n  {command} " in out


@pytest.mark.parametrize(
    "words",
    [
        "comparre",
        "compare --preset quik",
        "compare --arms burstee",
        "compare --seed x",
        "compare --chunk 3",
        "compare --out .",
        "compare --log wandbb",
        "compare --log trackio wandb tensorboard nothing",
        "runs nowhere",
        "resume nowhere",
        "evaluate nowhere",
        "report nowhere",
        "envs --families dark-rom",
        "roofline --device h10",
        "roofline --model 5",
        "bench simulat",
        "bench --out file",
    ],
)
def test_a_mistake_is_found_without_jax(heavy, tmp_path, words):
    (tmp_path / "file").touch()  # for --out
    code, out, found = heavy(words)
    assert (code, out, found) == (2, "", [])


@pytest.mark.parametrize(
    "words",
    [
        "compare --preset smoke --symbols 10",
        "compare --families json:Thing",
        "envs --families json:Thing",
    ],
)
def test_a_mistake_that_takes_jax_waits_for_little_else(heavy, words):
    code, _, found = heavy(words)
    assert code == 2 and "jax" in found
    assert set(found) <= {"jax", "flax", "optax", "gymnasium"}


def test_help_says_what_every_field_does(heavy):
    _, out, _ = heavy("compare --help")
    for field in dataclasses.fields(CompareConfig):
        assert f"--{field.name.replace('_', '-')}" in out


@pytest.mark.parametrize("draw", ["DarkRoom", "Env"])  # of a core that draws nothing
def test_a_family_beside_the_person_is_found(tmp_path, environment, draw):
    """The console script does not put the working folder on the path by itself."""
    source = (
        "from envs.core import Env\n"
        "from envs.families.dark_room import DarkRoom\n"
        "class Cellar(DarkRoom):\n"
        '    """A dark room, further down."""\n'
        f"    draw = {draw}.draw\n"
    )
    (tmp_path / "cellar.py").write_text(source, encoding="utf-8")
    script = "from experiments.cli import main; main()"
    command = [sys.executable, "-P", "-c", script, "envs", "--families", "cellar:Cellar"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr
    assert "A dark room, further down." in done.stdout
    assert ("#" in done.stdout) == (draw == "DarkRoom")
