"""The order of the layers, the size of files and the cost of importing the command line.

Each rule is a function over a folder that lists its violations, so that each is run twice: over
this repository, where it must find none, and over a planted violation, which it must find.
"""

import ast
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = ("envs", "agents", "icl", "experiments")
CEILING = 400
HEAVY = ("jax", "jaxlib", "flax", "optax", "orbax", "gymnasium", "scipy", "plotly", "matplotlib")


def imports(path: Path, root: Path) -> Iterator[str]:
    """Yields the absolute dotted name of each import in a file, wherever in the file it stands."""
    package = path.relative_to(root).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=module, names=names, level=level):
                parts = list(package[: len(package) - level + 1]) if level else []
                parts += module.split(".") if module else []
                yield from (".".join([*parts, name.name]) for name in names)
            case ast.Call(
                func=ast.Attribute(attr="import_module")
                | ast.Name(id="import_module" | "__import__"),
                args=[ast.Constant(value=str(name)), *_],
            ):
                yield name


def sources(root: Path, folders: tuple[str, ...]) -> list[Path]:
    """Returns the Python files under the folders, in order."""
    return sorted(path for folder in folders for path in (root / folder).rglob("*.py"))


def rightward_imports(root: Path) -> list[str]:
    """Lists the imports that go from a layer to one on its right."""
    return [
        f"{path.relative_to(root)} imports {name}"
        for rank, layer in enumerate(LAYERS)
        for path in sources(root, (layer,))
        for name in imports(path, root)
        if name.split(".")[0] in LAYERS[rank + 1 :]
    ]


def learning_in_envs(root: Path) -> list[str]:
    """Lists the imports of networks and optimisers in envs; `import flax` alone gives both."""
    return [
        f"{path.relative_to(root)} imports {name}"
        for path in sources(root, ("envs",))
        for name in imports(path, root)
        if name in ("flax", "flax.*") or f"{name}.".startswith(("flax.nnx.", "optax."))
    ]


def long_files(root: Path) -> list[str]:
    """Lists the source files over the ceiling."""
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in sources(root, (*LAYERS, "tests"))
    }
    return [f"{path.relative_to(root)}: {n} lines" for path, n in sizes.items() if n > CEILING]


def heavy_imports(module: str, root: Path) -> list[str]:
    """Lists the heavy packages that a fresh interpreter holds after importing a module."""
    program = (
        f"import json, sys, {module}; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def plant(root: Path, name: str, text: str) -> None:
    """Writes a source file under the root."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def test_each_layer_has_sources():
    assert [layer for layer in LAYERS if not sources(ROOT, (layer,))] == []


def test_imports_go_one_way():
    assert rightward_imports(ROOT) == []


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("envs/core.py", "import agents.policy"),
        ("envs/families/maze.py", "from icl.contexts import Arm"),
        ("agents/policy.py", "def act():\n    from experiments import config"),
        ("icl/train.py", "import importlib\nimportlib.import_module('experiments.config')"),
        ("icl/signals/chunks.py", "from ...experiments import config"),
    ],
)
def test_a_rightward_import_is_found(tmp_path, file, text):
    plant(tmp_path, file, text)
    assert len(rightward_imports(tmp_path)) == 1


def test_leftward_and_own_imports_pass(tmp_path):
    plant(tmp_path, "agents/policy.py", "from envs import make\nfrom agents.tokens import Tokens")
    plant(tmp_path, "icl/signals/chunks.py", "from . import agents\nfrom ..train import update")
    assert rightward_imports(tmp_path) == []


def test_envs_know_no_networks_or_optimisers():
    assert learning_in_envs(ROOT) == []


@pytest.mark.parametrize(
    "text",
    [
        "from flax import nnx",
        "import flax.nnx as nnx",
        "from flax.nnx import Module",
        "import flax",
        "import optax",
        "from optax import adam",
    ],
)
def test_a_network_or_optimiser_in_envs_is_found(tmp_path, text):
    plant(tmp_path, "envs/core.py", f"{text}\nfrom flax import struct")
    assert len(learning_in_envs(tmp_path)) == 1


def test_files_stay_under_the_ceiling():
    assert long_files(ROOT) == []


def test_a_long_file_is_found(tmp_path):
    plant(tmp_path, "icl/long.py", "pass\n" * (CEILING + 1))
    plant(tmp_path, "icl/full.py", "pass\n" * CEILING)
    assert long_files(tmp_path) == [f"{Path('icl/long.py')}: {CEILING + 1} lines"]


@pytest.mark.parametrize("module", ["experiments.cli", "experiments.config"])
def test_the_command_line_imports_nothing_heavy(module):
    assert heavy_imports(module, ROOT) == []


def test_a_heavy_import_is_found(tmp_path):
    plant(tmp_path, "jax.py", "")
    plant(tmp_path, "planted.py", "import jax")
    assert heavy_imports("planted", tmp_path) == ["jax"]
