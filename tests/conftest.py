"""What every test shares: eight fake CPU devices, a Ctrl-C that is heard, and a browser."""

import gc
import os
import signal
from pathlib import Path

# Most of the suite's time is XLA's compilation; without what makes programs fast it takes half as
# long. What tests start inherits it. `XLA_FLAGS= make test` compiles as a person's run does.
LIGHT = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
os.environ.setdefault("XLA_FLAGS", LIGHT)

import jax  # noqa: E402
import pytest  # noqa: E402

from envs import levels  # noqa: E402

jax.config.update("jax_num_cpu_devices", 8)  # before JAX starts
levels.BLOCK, levels.PATIENCE = 64, 64  # the same levels are found; most tests ask for few

# A shell that runs the suite in the background has it ignore Ctrl-C, and its children with it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that no worker is left with one at the end; but for
    those that start many processes, which would meet each other then. So does one that forks: a
    process of 4.5 GB, as a worker comes to be, takes a third of a second for it."""
    items.sort(key=lambda item: item.get_closest_marker("early") is None)


def pytest_collection_finish() -> None:
    """What was collected is there to the end, and tracing makes objects by the million: garbage is
    looked for less often, and not among the tests."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


@pytest.fixture(scope="session")
def shared(tmp_path_factory) -> Path:
    """A folder of the session, the same for all workers of pytest-xdist."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "levelburst"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(autouse=True, scope="session")
def kept_programs(shared):
    """What one worker compiled, the other reads."""
    jax.config.update("jax_compilation_cache_dir", str(shared / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.fixture(autouse=True, scope="module")
def room_for_programs():
    """Linux lets a process hold 65,530 memory maps (vm.max_map_count); a compiled program takes
    several, and XLA ends in a segmentation fault where none is left. So a worker that has compiled
    a lot forgets its programs between two files."""
    yield
    maps = Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > 15_000:
        gc.collect()  # what a test held in a cycle
        jax.clear_caches()


CHROMIUM = Path("/usr/bin/chromium")
BROWSER = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking")


@pytest.fixture(scope="module")
def chromium():
    """A real browser. Where there is none, tests skip; in CI, or where LEVELBURST_BROWSER is
    ``required``, they fail. One a file: while it runs, its event loop is the thread's."""
    try:
        from playwright.sync_api import sync_playwright

        missing = "" if CHROMIUM.exists() else f"no browser at {CHROMIUM}"
    except ImportError:
        missing = "playwright is not installed"
    if missing:
        required = os.environ.get("CI") or os.environ.get("LEVELBURST_BROWSER") == "required"
        (pytest.fail if required else pytest.skip)(f"{missing}: no page can be opened")
    with sync_playwright() as playwright:
        arguments = [*BROWSER, "--no-first-run"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """opened(path, width=1200, scheme="light") -> a page of the browser. Nothing that it opened may
    have written to the console, asked for anything but its own file, or opened a dialog."""
    contexts, heard = [], []

    def open_(path: Path, width: int = 1200, scheme: str = "light"):
        context = chromium.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, reduced_motion="reduce"
        )
        contexts.append(context)
        page, address = context.new_page(), path.resolve().as_uri()
        page.on("console", lambda message: heard.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: heard.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (heard.append("dialog"), dialog.dismiss()))
        page.on(
            "request",
            lambda request: (
                request.url.startswith((address, "data:"))
                or heard.append(f"request: {request.url}")
            ),
        )
        page.goto(address)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert heard == []
