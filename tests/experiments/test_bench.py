"""``levelburst bench``: every part runs at toy size; no timing is asserted anywhere."""

import json
import re

import pytest

from experiments.bench.sizes import PARTS, SIZES

pytestmark = pytest.mark.early


@pytest.fixture(scope="module")
def bench(tmp_path_factory, environment, shared):
    """(folder, standard output, standard error) of all parts at toy size, without rivals."""
    from tests.experiments.conftest import Levelburst

    folder = tmp_path_factory.mktemp("bench")
    done = Levelburst(folder, environment)("bench", "--sizes", "toy", "--out", "out")
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout, done.stderr


@pytest.fixture(scope="module")
def found(bench):
    return json.loads((bench[0] / "bench.json").read_text(encoding="utf-8"))


def test_every_part_is_measured(found):
    assert found["schema"] == 1 and list(found["parts"]) == list(PARTS)
    for name, part in found["parts"].items():
        assert part["reason"] == "", name
        own = [cell for cell in part["cells"] if cell["ours"]]
        assert own and all(cell["median"] > 0 for cell in own), name
    toy = SIZES["toy"]
    raced = found["parts"]["simulate"]["cells"]
    assert {len(c["seconds"]) for c in raced if c["ours"]} == {toy.repeats}


def test_a_cell_holds_what_its_goes_say(found):
    for part in found["parts"].values():
        for cell in part["cells"]:
            goes = sorted(cell["seconds"])
            if not goes:
                assert cell["median"] is None and cell["reason"]
                continue
            middle = (goes[(len(goes) - 1) // 2] + goes[len(goes) // 2]) / 2
            assert (cell["low"], cell["high"]) == (goes[0], goes[-1])
            assert cell["median"] == pytest.approx(middle)
            if cell["amount"]:
                assert cell["rate"] == pytest.approx(cell["amount"] / middle)


def test_rivals_that_are_not_installed_leave_their_cells_empty(bench, found):
    empty = [c for p in found["parts"].values() for c in p["cells"] if not c["seconds"]]
    assert {c["who"] for c in empty} == {"XLand-MiniGrid", "navix", "gymnax", "PyTorch"}
    assert all(c["reason"] == "not installed; levelburst bench --peers installs it" for c in empty)
    page = (bench[0] / "bench.html").read_text(encoding="utf-8")
    assert "levelburst bench --peers" in page


def test_gymnasium_is_a_rival_that_is_always_there(found):
    cells = found["parts"]["simulate"]["cells"]
    rivals = [c for c in cells if c["who"].startswith("Gymnasium, ")]
    assert len(rivals) == 2
    for cell in rivals:
        assert cell["ratio_low"] <= cell["ratio"] <= cell["ratio_high"]
        assert "CartPole" in cell["what"] and "NumPy" in cell["note"]


def test_the_machine_is_measured(found):
    machine = found["machine"]
    assert min(machine[name] for name in ("float32", "bfloat16", "bandwidth")) > 0
    assert machine["backend"] == "cpu" and machine["devices"] >= 1
    assert all(len(goes) == SIZES["toy"].repeats for goes in machine["goes"].values())


def test_scale_fits_a_slope_where_there_are_two_points(found):
    assert set(found["parts"]["scale"]["slopes"]) == {"levels admitted", "context length"}


def test_targets_are_told_with_what_was_measured(found):
    by = {target["work"]: target for target in found["targets"]}
    assert by["compare --help"]["measured"] > 0
    assert by["compare --help"]["reached"] in (True, False)
    against = next(target for work, target in by.items() if "XLand" in work)
    assert against["measured"] is None and against["reached"] is None
    assert by["contexts, share of the update"]["measured"] > 0


def test_the_page_needs_no_network_and_tells_every_part(bench):
    page = (bench[0] / "bench.html").read_text(encoding="utf-8")
    assert re.findall(r"<(?:script|link|img)[^>]*(?:src|href)=[\"']?http", page) == []
    for part in PARTS:
        assert f'<h2 id="{part}">' in page
    figures = json.loads(page.partition('id="figures">')[2].partition("</script>")[0])
    assert len(figures) == len(PARTS) and all(figures)
    assert page.count('class="chart"') == sum(map(len, figures))


def test_the_terminal_tells_every_part(bench):
    _, out, said = bench
    for part in PARTS:
        assert f"\n{part} (" in out and f"\n{part}: " in said
    assert "bench.html" in out and "targets" in out
