"""What the packaging promises: pinned, hashed, complete requirements that name no address."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from packaging.version import Version

ROOT = Path(__file__).parents[1]
BASE = ROOT / "requirements" / "base.txt"
DEV = ROOT / "requirements" / "dev.txt"
PIN = re.compile(r"([a-z0-9-]+)==(\S+)( ; [^@]+?)?((?: --hash=sha256:[0-9a-f]{64})+)")
ADDRESS = re.compile(
    r"\w+://|^-e\b|^--?(?:index|extra-index|find-links|i\b|f\b)| @ |^[./~]", re.MULTILINE
)


def pins(text: str) -> dict[str, str]:
    """Reads requirements as name -> version; raises ValueError on a line without pin and hash."""
    lines = re.sub(r"^\s*#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", "").splitlines()
    found = [(line, PIN.fullmatch(" ".join(line.split()))) for line in lines if line.strip()]
    if loose := [line for line, pin in found if pin is None]:
        raise ValueError(f"not pinned with hashes: {loose}")
    return {pin[1]: pin[2] for _, pin in found if pin}


def normal(requirement: str) -> str:
    """Returns the normalised name of a requirement such as `Pyright[nodejs]>=1.1`."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0]).lower()


@pytest.fixture(scope="module")
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", [BASE, DEV], ids=lambda path: path.name)
def test_requirements_name_no_address_and_pin_every_line(path):
    text = path.read_text(encoding="utf-8")
    assert ADDRESS.findall(text) == []
    assert len(pins(text)) > 10


@pytest.mark.parametrize("line", ["jax==0.10.2", "jax>=0.10 \\\n    --hash=sha256:" + "a" * 64])
def test_a_loose_line_is_found(line):
    with pytest.raises(ValueError, match="not pinned"):
        pins(f"# made by\n{line}\n")


@pytest.mark.parametrize(
    "line",
    ["--index-url https://example.org", "-e .", "jax @ file:///jax.whl", "./jax.whl", "-i x"],
)
def test_an_address_is_found(line):
    assert ADDRESS.search(f"# made by\n{line}\n")


def test_base_holds_what_runs_and_what_builds(project):
    declared = project["project"]["dependencies"] + project["build-system"]["requires"]
    assert {normal(name) for name in declared} - pins(
        BASE.read_text(encoding="utf-8")
    ).keys() == set()


def test_dev_holds_base_at_the_same_versions(project):
    base, dev = (pins(path.read_text(encoding="utf-8")) for path in (BASE, DEV))
    declared = project["project"]["optional-dependencies"]["dev"]
    assert base.items() - dev.items() == set()
    assert {normal(name) for name in declared} - dev.keys() == set()


def advised(found: dict[str, str]) -> list[str]:
    """The advisories of requirements/advisories.json that pinned versions are too old for."""
    known = json.loads((ROOT / "requirements/advisories.json").read_text(encoding="utf-8"))
    return [
        f"{name} {found[name]}: {identity} is mended in {fixed}"
        for name, own in known.items()
        for identity, fixed in own.items()
        if name in found and Version(found[name]) < Version(fixed)
    ]


def test_no_pin_is_older_than_the_mend_of_a_known_advisory():
    """Offline, so as of the day that the list was written; pip-audit asks for today's."""
    found = pins(DEV.read_text(encoding="utf-8"))
    assert advised(found) == []
    assert advised(found | {"jinja2": "3.1.5"}) == [
        "jinja2 3.1.5: CVE-2025-27516 is mended in 3.1.6"
    ]


def test_build_requirements_are_stated_alike(project):
    assert project["dependency-groups"]["build"] == project["build-system"]["requires"]


def test_every_package_folder_would_be_shipped():
    folders = {
        path.parent
        for layer in ("envs", "agents", "icl", "experiments")
        for path in (ROOT / layer).rglob("*.py")
    }
    assert (
        sorted(str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()) == []
    )
