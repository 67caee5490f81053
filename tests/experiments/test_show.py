"""`envs show` and `envs check`: the same level every time, and one line for every mistake."""

import io

import jax
import pytest
from PIL import Image

import envs
from envs.levels import draw_levels
from experiments import cli
from experiments.show import coloured

BROKEN = """
import jax.numpy as jnp
from envs.core import Env
from envs.families.dark_room import DarkRoom

class Branching(DarkRoom):
    def step(self, key, level, state, action):
        if state.cell == level.goal:
            action = 0
        return super().step(key, level, state, action)

class Half(Env):
    num_actions = 2

class Blind(DarkRoom):
    draw = Env.draw

class Cellar(DarkRoom):
    pass

def nothing(): pass
"""


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """command(words) -> (exit code, standard output, standard error), in a folder with a module
    of a person's own."""
    (tmp_path / "people_module.py").write_text(BROKEN, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(cli, "_quiet_jax", lambda: None)

    def call(words: str) -> tuple[int, str, str]:
        code = cli.run(["envs", *words.split()])
        return code, *capsys.readouterr()

    return call


@pytest.fixture
def refused(command, monkeypatch):
    """refused(words) -> the one line on standard error; JAX is not reached."""

    def reached():
        raise AssertionError("JAX was reached before the arguments were checked")

    def call(words: str, jax_is_needed: bool = False) -> str:
        if not jax_is_needed:
            monkeypatch.setattr(cli, "_quiet_jax", reached)
        code, out, err = command(words)
        assert (code, out) == (2, "")
        assert err.count("\n") == 1 and err.startswith("levelburst: ")
        return err

    return call


@pytest.mark.parametrize("word", ["show", "SHOW", "Show"])
def test_a_level_is_drawn_with_what_it_asks_for(command, word):
    code, out, err = command(f"{word} key-door --level 7")
    assert (code, err) == (0, "")
    env = envs.make("key-door")
    levels = draw_levels(env, jax.random.key(0), 8)
    level = levels.level(7)
    picture = env.text(level, env.reset(jax.random.key(0), level))
    assert "\n".join(f"  {line}" for line in picture.splitlines()) in out
    assert out.startswith("key-door, level 7\n") and "@ agent" in out and "D door" in out
    random, best = levels.references[7].tolist()
    assert f"returns      random {random:.2f}, optimal {best:.2f}" in out
    assert "observation  int32[2], symbols 0 … 37" in out and "actions      int32[], 0 … 3" in out
    assert "play         oracle, " in out and "steps, return 1" in out


def test_the_same_level_comes_every_time(command):
    first, again, other = (command(f"show maze --level {n}")[1] for n in (3, 3, 4))
    assert first == again != other


def test_fields_take_the_place_of_defaults(command):
    code, out, _ = command("show dark-room --set size=4 density=0 lethality=0.5")
    assert code == 0
    assert [line.strip() for line in out.splitlines() if set(line) <= set(" .@G#") and line]
    assert "symbols 0 … 15" in out and "#" not in out


def test_pictures_are_written(command, tmp_path):
    code, out, _ = command("show teleporters --level 2 --gif films/a.gif --png b.png")
    assert code == 0 and "films/a.gif" in out and "b.png" in out
    with (
        Image.open(tmp_path / "films" / "a.gif") as moving,
        Image.open(tmp_path / "b.png") as still,
    ):
        assert moving.n_frames > 1 and moving.size == still.size
        moving.seek(0)
        one, other = (image.convert("RGB").getpixel((5, 5)) for image in (moving, still))
    assert one == other


def test_a_family_without_pictures_is_shown_in_words(command):
    code, out, _ = command("show people_module:Blind")
    assert code == 0 and "play         oracle" in out and "@" not in out


def test_colour_is_for_terminals():
    from rich.console import Console

    env = envs.make("dark-room", size=3)
    level = env.parse("S#.\n..G\n...")
    picture = env.draw(level, env.reset(jax.random.key(0), level))
    console = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    console.print(coloured(picture))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "48;2;92;99;112" in text  # the wall's grey, behind
    assert "38;2;0;114;178" in text and "@ " in text  # the agent's blue
    assert coloured(picture).plain.splitlines() == ["  @     ", "      G ", "        "]


def test_a_family_that_keeps_the_contract(command):
    code, out, _ = command("check dark-room")
    assert code == 0 and "✗" not in out
    assert out.count("✓") == 19 and "dark-room keeps the contract" in out


def test_what_is_broken_is_named_with_its_remedy(command):
    code, out, err = command("check people_module:Branching people_module:Half")
    assert (code, err) == (1, "")
    assert "✗ compiles     step (people_module.py, line 8: `if state.cell == level.goal:`)" in out
    assert "jnp.where" in out
    assert "✗ sizes        num_fields is missing" in out
    assert out.count("✗") == 2 and "Half breaks the contract: 1 to mend" in out
    assert "not looked at before that is mended: keys, types, agreement" in out


def test_what_is_no_family_is_said_so(command):
    code, out, _ = command("check people_module:nothing")
    assert code == 1 and "✗ family       nothing is no subclass of Env" in out


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("shwo dark-room", ("unknown word 'shwo'", "show NAME", "check NAME")),
        ("show", ("--family",)),
        ("show dark-rom", ("'dark-rom'", "did you mean 'dark-room'?")),
        ("check dark-rom", ("'dark-rom'", "did you mean 'dark-room'?")),
        ("check nowhere:Thing", ("'nowhere:Thing'", "PYTHONPATH")),
        ("show dark-room --level -1", ("level -1", "from 0")),
        ("show dark-room --level 99999999", ("level 99999999", "from 0 to 65535")),
        ("show dark-room --level x", ("--level", "'x'")),
        ("show dark-room --set size", ("--set size", "name=value")),
        ("show dark-room --set size=", ("--set size=", "name=value")),
        ("show dark-room --gif film.png", ("film.png", "ends in .gif")),
        ("show dark-room --png people_module.py/a.png", ("people_module.py", "a file")),
        ("--out page.html", ("--out page.html", "--gallery")),
        ("--gallery --families dark-rom", ("'dark-rom'", "did you mean 'dark-room'?")),
        ("--gallery --families suite.hazards", ("'suite.hazards'", "'suite.hazard'?")),
        ("--gallery --out people_module.py", ("people_module.py", "a file")),
    ],
)
def test_a_mistake_is_one_line(refused, words, parts):
    message = refused(words)
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("show people_module:Celar", ("people_module:Celar", "module:Class")),
        ("check people_module:Celar", ("people_module:Celar", "module:Class")),
        ("show dark-room --set sise=9", ("has no field 'sise'", "size")),
        ("show dark-room --set size=big", ("size=big", "type int")),
        ("show dark-room --set size=1", ("size 1", "use 2 or more")),
        ("show people_module:Blind --gif a.gif", ("no draw", "no picture")),
        ("show dark-room --set size=2 --level 40", ("dark-room", "too few", "41 asked for")),
        (
            "show people_module:Branching",
            ("Branching breaks the contract", "envs check people_module:Branching"),
        ),
        ("--families people_module:Half", ("Half breaks the contract", "envs check")),
    ],
)
def test_a_mistake_that_takes_jax_is_one_line(refused, words, parts):
    message = refused(words, jax_is_needed=True)
    assert [part for part in parts if part not in message] == [], message


def test_suites_are_listed_whole(command, monkeypatch):
    from experiments import catalogue
    from experiments.families import SUITES

    monkeypatch.setattr(catalogue, "entry", lambda name, env: name)
    monkeypatch.setattr(catalogue, "block", str)
    split = SUITES["suite.hazard"]
    assert command("--families suite.hazard")[1].split() == [*split.train, *split.test]
    assert command("")[1].split() == list(envs.names())
