"""docs/scaling.md: what it predicts is predicted again, and its arithmetic is done again."""

import dataclasses
import re
from pathlib import Path

import pytest

from experiments import roofline
from experiments.blocks import BLOCK
from experiments.cli import run
from experiments.devices import DEVICES
from experiments.presets import preset
from experiments.roofline import Decoder, Layout, limits, update_of

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "scaling.md").read_text(encoding="utf-8")
PROSE = " ".join(BLOCK.sub("", PAGE).split())


def rows(heading: str) -> list[list[str]]:
    """Cells of the table whose heading begins with these words."""
    lines = PAGE[PAGE.index(f"| {heading}") :].partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("shown", re.findall(r"^```\n\$ levelburst (.*?)\n```$", PAGE, re.M | re.S))
def test_a_prediction_is_what_the_command_prints(shown, capsys):
    words, _, said = shown.partition("\n")
    assert run(words.split()) == 0
    lines = [line.rstrip() for line in capsys.readouterr().out.strip().splitlines()]
    assert lines == [line.rstrip() for line in said.strip().splitlines()]


def h100(capsys, *words: str) -> str:
    """The H100's line of a prediction."""
    assert run(["roofline", *words, "--device", "h100"]) == 0
    return next(x for x in capsys.readouterr().out.splitlines() if x.startswith("NVIDIA H100"))


def test_what_a_flag_saves_is_predicted(capsys):
    usual, through, kept = (
        h100(capsys, *words) for words in ((), ("--no-fused",), ("--no-remat",))
    )
    found = re.search(r"from (\S+ … \S+) to (\S+ … \S+) tokens a second", PROSE)
    assert found and found[1] in usual and found[2] in through
    found = re.search(r"(\d+\.\d) GB instead of (\d+) GB", PROSE)
    assert found
    for said, line in ((found[1], usual), (found[2], kept)):
        held = re.search(r"(\S+) of 80", line)
        assert held and float(said) == pytest.approx(float(held[1]), abs=0.5)


def larger() -> tuple[Decoder, roofline.Update]:
    """The paper's larger model behind the preset's interface, and its update."""
    config = dataclasses.replace(preset("paper"), width=1024, layers=18, heads=16)
    found = re.search(r"18 blocks of width 1024, 16 heads: (\S+) parameters", PAGE)
    assert found
    bare = Decoder(1024, 18, 16, 0, 0)
    ends = (int(found[1].replace(",", "")) - bare.parameters) // 1024  # features and actions
    return Decoder(1024, 18, 16, ends, 0), update_of(config)


def test_layouts_send_and_hold_what_the_table_says():
    decoder, update = larger()
    table = rows("flags | parameters")
    assert len(table) == 6
    for flags, state, sent, links, held in table:
        words = dict(re.findall(r"--(data|model|accumulate) (\d+)", flags))
        layout = Layout(fsdp="--fsdp" in flags, **{k: int(v) for k, v in words.items()})
        found = limits(decoder, update, layout, DEVICES["h100"])
        copies = 4 if layout.accumulate == 1 else 5  # parameters, moments, gradients, their sum
        assert state == f"{4e-9 * copies * decoder.parameters / layout.split:.2f} GB"
        over = zip(roofline.sent(decoder, update, layout), (layout.data, layout.model), strict=True)
        assert sent == f"{sum(size * (n - 1) / n for size, n in over) / 1e9:.2f} GB"
        assert links == f"{1e3 * found.links:.3g} ms of {1e3 * found.longest:.0f}"
        assert float(held) == pytest.approx(found.held / 1e9, rel=5e-3)


def test_the_devices_are_those_that_are_counted_with():
    table = {row[0]: row[1:] for row in rows("device | peak, dense bf16")}
    assert set(table) == {device.label for device in DEVICES.values()}
    for device in DEVICES.values():
        peak, memory, bandwidth, ridge, ring = table[device.label]
        assert (
            peak == f"{device.peak / 1e12:.0f} TFLOP/s"
            and memory == f"{device.memory / 1e9:.0f} GB"
        )
        assert bandwidth in (
            f"{device.bandwidth / 1e12:g} TB/s", f"{device.bandwidth / 1e9:,.0f} GB/s",
        )  # fmt: skip
        assert ridge == f"{device.ridge:.0f}"
        if ring != "as H100":
            assert ring.startswith(f"{device.link / 1e9:.0f} GB/s") and f" {device.group}" in ring
            assert "then" not in ring or f"then {device.network / 1e9:.0f} GB/s" in ring


NUMBER = r"[\d,.]+(?:e\d+)?(?:M|k| TB| GB| MB| ms| s)?"
UNITS = {"M": "e6", "k": "e3", " GB": "e9", " MB": "e6", " TB": "e12", " ms": "e-3", " s": ""}


def worth(text: str) -> float:
    """The value of an expression of the page."""
    text = re.sub(r"[*²]|/s", lambda m: "**2" if m[0] == "²" else "", text).replace(",", "")
    for unit, power in UNITS.items():
        text = re.sub(rf"(?<=\d){unit}\b", power, text)
    text = text.replace("×", "*").replace("÷", "/").strip()
    assert re.fullmatch(r"[\d.e+*/() -]+", text), text
    return eval(text)


def test_the_arithmetic_is_right():
    done = 0
    for what, sum_, result in rows("| | |\n"):
        if not re.search(r"[×÷+]", sum_) or "…" in sum_:
            continue
        assert worth(sum_) == pytest.approx(worth(result), rel=6e-3), what
        done += 1
    assert done >= 11


def test_the_results_of_the_arithmetic_are_the_first_line(capsys):
    line = h100(capsys)
    bold = re.findall(r"\| \*\*(.+?)\*\* \|", PAGE[: PAGE.index("### What was checked")])
    assert {"106 ms", "87.9 ms", "677k … 1.24M"} <= set(bold)
    assert all(x in line for x in bold if x != "627M")


def test_the_room_that_is_left_is_what_is_said():
    assert roofline.SLACK == 6 and "leaves six times" in PROSE


def test_no_measurement_stands_outside_of_the_block():
    measured = BLOCK.sub("", PAGE[PAGE.index("## Measured") :])
    assert re.findall(r"\d+\.\d+|\d+ (?:ms|%|s)\b", measured) == []
