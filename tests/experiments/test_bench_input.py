"""A person's mistakes with ``levelburst bench``: one line, exit code 2, nothing created."""

import inspect

import pytest

from experiments import cli, cli_bench
from experiments.bench.peer import PeerError, Peers
from experiments.bench.sizes import PARTS
from experiments.cli import run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("simulat", "unknown part 'simulat'; did you mean 'simulate'?"),
        ("train train", "parts train train: a part stands twice; give each once"),
        ("--sizes big", "unknown sizes 'big'; known: full, toy"),
        ("--repeats -1", "repeats -1: use a number from 1 to 1000, or 0"),
        ("--repeats x", "bench: "),
        ("--piers", "bench: "),
        ("--out file", "--out file: file is a file; name a folder"),
        ("--out full", "--out full is not empty; name another folder or say --overwrite"),
        ("--out full --overwrite", "--out full holds more than a benchmark; name another folder"),
    ],
)
def test_a_mistake_is_one_line(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    before = sorted(tmp_path.rglob("*"))
    assert run(["bench", *words.split()]) == 2
    out, said = capsys.readouterr()
    assert out == "" and said.startswith(f"levelburst: {message}")
    assert said.count("\n") == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_help_names_every_part():
    fields = inspect.getsource(cli_bench.BenchConfig)
    assert all(", ".join(PARTS) in text for text in (cli.USAGE, fields))


@pytest.fixture
def broken(tmp_path, monkeypatch):
    """Peers whose Python runs a program of the test's in place of venv and pip."""

    def make(program: str) -> Peers:
        python = tmp_path / "python"
        python.write_text(f"#!/bin/sh\n{program}\n", encoding="utf-8")
        python.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(python))
        return Peers(tmp_path / "peers")

    return make


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        ("echo 'No module named venv' >&2; exit 1", "python -m venv failed: No module named venv"),
        (
            'mkdir -p "$3/bin"; printf "#!/bin/sh\\necho ERROR: No matching wheel >&2\\n'
            'echo a newer pip >&2\\nexit 1" > "$3/bin/python"; chmod +x "$3/bin/python"',
            "failed: ERROR: No matching wheel",
        ),
    ],
)
def test_what_cannot_be_installed_is_told_and_the_rest_goes_on(broken, program, reason):
    peers, said = broken(program), []
    peers.install(said.append)
    assert set(peers.failed) == {"torch", "jax"}  # the first did not stop the second
    assert all(reason in message for message in peers.failed.values())
    assert sum(reason in line for line in said) == 2
    with pytest.raises(PeerError, match=r"failed: "):
        peers.open("torch_train")


def test_an_environment_with_other_pins_is_made_anew(broken, tmp_path):
    peers = broken(
        'mkdir -p "$3/bin"; printf "#!/bin/sh\\necho \\$0 >> %s" "' + str(tmp_path / "calls")
        + '" > "$3/bin/python"; chmod +x "$3/bin/python"'
    )  # fmt: skip
    peers.install(lambda _: None)
    assert peers.failed == {}
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 2  # pip, once for each
    peers.install(lambda _: None)
    stamp = tmp_path / "peers" / "torch" / "levelburst-pins.txt"
    stamp.write_text("torch==1.0\n", encoding="utf-8")
    peers.install(lambda _: None)
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 3 and "torch" in calls[2]
