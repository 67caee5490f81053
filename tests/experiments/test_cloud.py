"""Recipes and the page on scaling: their commands exist, their tables and costs are what the code
says, and the shell and YAML in them can be read."""

import contextlib
import functools
import io
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tyro
import yaml

from experiments.cli import run
from experiments.config import CompareConfig, check
from experiments.presets import operations, preset

ROOT = Path(__file__).resolve().parents[2]
CLOUD = ROOT / "experiments" / "cloud"
PAGE = ROOT / "docs" / "scaling.md"
RECIPES = sorted(path for path in CLOUD.iterdir() if path.suffix in (".sh", ".yaml"))

VARIABLES = {"devices": "8", "RUN": "runs/paper", "SPEC": "sweep.toml", "OUT": "runs/sweep"}


def lines(path: Path) -> list[str]:
    """The `levelburst …` command lines of a file, variables filled in. In a page they stand in
    code, in a recipe on lines that are run or in comments that begin with them."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    text = re.sub(r'"?\$\{\w+\[@\]\}"?', "", text)
    text = re.sub(r'"\$\{(\d):\?([\w:]+)\}"', r"\2", text)
    text = re.sub(r'"?\$\{?(\w+)\}?"?', lambda m: VARIABLES.get(m[1], m[0]), text)
    return re.findall(r"(?<![\w/-])levelburst ((?:[a-z]+ ?)[^`\n#)&|<]*)", text)


EVERY = [
    pytest.param(path, line.strip(), id=f"{path.name}: {line.strip()[:60]}")
    for path in [*RECIPES, CLOUD / "README.md", PAGE]
    for line in lines(path)
]


@functools.cache
def explained(command: str) -> str:
    """What --help prints."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        run([command, "--help"])
    return said.getvalue()


@pytest.mark.parametrize(("path", "line"), EVERY)
def test_a_named_command_line_is_one(path, line):
    command, *words = shlex.split(line)
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    missing = {flag for flag in flags if not re.search(rf"{flag}\b", explained(command))}
    assert not missing, f"{path.name}: levelburst {command} has no {missing}"
    if command == "compare":
        name = words[words.index("--preset") + 1] if "--preset" in words else "quick"
        check(tyro.cli(CompareConfig, args=words, default=preset(name)))


def test_every_kind_of_line_was_found():
    found = {line.values[1].split()[0] for line in EVERY}
    assert {"compare", "resume", "sweep", "bench", "roofline"} <= found
    assert len(EVERY) > 20


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_costs_are_what_the_roofline_says(capsys, path):
    """Device-hours as predicted, and the price times them; each recipe has at least one."""
    text = path.read_text(encoding="utf-8")
    if path.name == "install.sh":
        return
    number = r"([\d.,]+)"
    pattern = (
        rf"\(levelburst roofline (--[^)]*)\): {number} … {number} device-hours x "
        rf"\${number} = \${number} … \${number}"
    )
    found = re.findall(pattern, text)
    assert len(found) == text.count("device-hours x") >= 1
    assert "check the price list" in text and "2026-11-23" in text
    for words, *figures in found:
        low, high, price, least, most = (float(figure.replace(",", "")) for figure in figures)
        capsys.readouterr()
        assert run(["roofline", *words.split()]) == 0
        row = next(x for x in capsys.readouterr().out.splitlines() if " ms" in x)
        hours = re.split(r"\s{3,}", row)[7]
        assert hours == f"{figures[0]} … {figures[1]}"
        assert (round(low * price), round(high * price)) == (least, most)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_operations_are_those_of_the_preset(path):
    for figure in re.findall(r"([\d.e]+) by `operations\(config\)`", path.read_text("utf-8")):
        whole = operations(preset("paper"))
        assert figure in (f"{whole:.1e}".replace("e+", "e"), f"{whole / 9:.1e}".replace("e+", "e"))


@pytest.mark.parametrize("path", sorted(CLOUD.glob("*.sh")), ids=lambda path: path.name)
def test_shell_can_be_read(path):
    assert path.stat().st_mode & 0o111, "not executable"
    for checker in (["bash", "-n"], ["shellcheck"]):
        if shutil.which(checker[0]):
            done = subprocess.run([*checker, str(path)], capture_output=True, text=True)
            assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(CLOUD.glob("*.yaml")), ids=lambda path: path.name)
def test_yaml_is_a_task_that_opens_no_port(tmp_path, path):
    task = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert {"name", "workdir", "resources", "file_mounts", "setup", "run"} <= task.keys()
    assert "ports" not in task["resources"]
    assert task["file_mounts"]["/runs"]["mode"] == "MOUNT_CACHED"
    for part in ("setup", "run"):
        script = tmp_path / f"{part}.sh"
        script.write_text(task[part], encoding="utf-8")
        assert subprocess.run(["bash", "-n", str(script)]).returncode == 0
    installer, *_ = task["setup"].split()
    assert (ROOT / installer).is_file()
    assert "levelburst resume /runs/" in task["run"] and "--out /runs/" in task["run"]


def test_slurm_resumes_and_requeues():
    text = (CLOUD / "slurm.sh").read_text(encoding="utf-8")
    head = [line for line in text.splitlines() if line.startswith("#SBATCH")]
    assert "#SBATCH --requeue" in head and "#SBATCH --open-mode=append" in head
    first = next(i for i, x in enumerate(text.splitlines()) if x and not x.startswith("#"))
    assert all(line in text.splitlines()[:first] for line in head), "Slurm reads no later ones"
    assert "scontrol requeue" in text and 'levelburst resume "$RUN"' in text


@pytest.mark.parametrize("ip", ["8.8.8.8", "172.32.0.1", "0.0.0.0", "192.169.0.1"])
def test_ray_refuses_a_public_address(ip):
    """Before anything is started: `ray` is not even on the path."""
    done = subprocess.run(
        ["bash", str(CLOUD / "ray.sh"), "worker", "10.0.0.1:6379"],
        env={"RAY_IP": ip, "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "no address of a private network" in done.stderr


def test_ray_listens_to_nobody_else():
    text = (CLOUD / "ray.sh").read_text(encoding="utf-8")
    assert "0.0.0.0" not in text and "export RAY_AUTH_MODE=token" in text
    assert "--include-dashboard=false" in text and "ssh -N -L 8265:127.0.0.1:8265" in text


BLOCKS = re.findall(r"```\n\$ levelburst (roofline[^\n]*)\n(.*?)```", PAGE.read_text("utf-8"), re.S)


@pytest.mark.parametrize(("line", "shown"), BLOCKS, ids=[line for line, _ in BLOCKS])
def test_the_page_shows_what_the_command_prints(capsys, line, shown):
    assert run(shlex.split(line)) == 0
    assert capsys.readouterr().out == shown


def test_the_page_shows_the_papers_two_models():
    assert len(BLOCKS) >= 2
    assert any("--width 1024 --layers 18 --heads 16" in line for line, _ in BLOCKS)


SHAPES = re.findall(r"^\| (.*) \| ([\d.]+) GB \| [\d.]+ GB \| (\S+) ms of (\d+) \| (\S+) \|$",
                    PAGE.read_text("utf-8"), re.M)  # fmt: skip


@pytest.mark.parametrize("row", SHAPES, ids=[row[0] for row in SHAPES])
def test_the_pages_shapes_are_those_of_the_command(capsys, row):
    words, _, links, longest, held = row
    flags = " ".join(re.findall(r"`(--[^`]*)`", words))
    model = "roofline --width 1024 --layers 18 --heads 16 --device h100"
    assert run(shlex.split(f"{model} {flags}")) == 0
    line = next(x for x in capsys.readouterr().out.splitlines() if x.startswith("NVIDIA"))
    _, _, *times, _, _, _, memory = re.split(r"\s{3,}", line)
    parts = [float(time.removesuffix(" ms")) for time in times]
    assert parts[2] == float(links) and memory == f"{held} of 80"
    assert sum(parts) == pytest.approx(float(longest), abs=1)


def test_the_page_compares_six_shapes():
    assert len(SHAPES) == 6
