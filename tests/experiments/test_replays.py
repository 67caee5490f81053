"""What a run keeps to be watched: whole, consistent with its results, and small."""

import base64
import dataclasses
import io
import json
from itertools import product

import numpy as np
import pytest
from PIL import Image

from envs import tiles
from experiments.config import CompareConfig
from experiments.pictures import ATLAS, Table, atlas
from experiments.presets import PRESETS
from experiments.replays import BUDGET, room

SETS = (
    ("dark-room", "seen-level"),
    ("dark-room", "unseen-level"),
    ("random-graph", "unseen-family"),
)


@pytest.fixture(scope="module")
def found(smoke) -> dict:
    return json.loads((smoke / "replays.json").read_text(encoding="utf-8"))


def numbers(text: str) -> list[float]:
    return [float(x) for x in text.split()]


def test_every_condition_can_be_watched(found):
    fields = ("arm", "family", "split", "demonstrations", "level", "k")
    told = [tuple(episode[field] for field in fields) for episode in found["episodes"]]
    arms, kinds = ("bursty", "isolated-chunks"), ("whole", "as-trained")
    wanted = [
        (arm, *cell, kind, level, k)
        for arm, cell, kind, level, k in product(arms, SETS, kinds, range(2), range(4))
    ]
    assert sorted(told) == sorted(wanted)


def test_an_episode_says_one_thing_everywhere(found):
    for episode in found["episodes"]:
        actions = numbers(episode["actions"])
        steps, context = len(actions), found["contexts"][episode["context"]]
        length = int(numbers(context["lengths"])[episode["k"]])
        assert 1 <= steps <= 16 and len(episode["probabilities"]) == steps
        assert len(numbers(episode["pictures"])) == len(numbers(episode["doomed"])) == steps + 1
        assert sum(numbers(episode["rewards"])) == pytest.approx(episode["return"])
        assert episode["success"] == (episode["terminated"] and episode["return"] > 0)
        assert episode["terminated"] or steps == 16
        best = [numbers(text) for text in episode["optimal"]]
        missed = [t for t in range(steps) if actions[t] not in best[t]]
        assert episode["wrong"] == (missed[0] if missed else -1)
        for chances in episode["probabilities"]:
            assert sum(numbers(chances)) == pytest.approx(1000, abs=3)
        (layer,) = episode["attention"]
        for t, row in enumerate(map(numbers, layer)):
            assert len(row) == length + t + 1 and sum(row) == pytest.approx(1000, abs=len(row))


def test_demonstrations_are_whole_and_of_their_level(found):
    whole = [one for one in found["episodes"] if one["demonstrations"] == "whole"]
    for episode in whole:
        context = found["contexts"][episode["context"]]
        lengths, starts = numbers(context["lengths"]), numbers(context["starts"])
        assert [i for i, start in enumerate(starts) if start] == lengths[:-1]
        assert "1" not in context["foreign"] + context["cuts"]
        columns = ("before", "after", "actions", "rewards", "starts", "cuts", "foreign")
        assert {len(numbers(context[name])) for name in columns} == {lengths[-1]}
    # They are the same for every arm, and stand in the file once.
    by_level = {}
    for one in whole:
        by_level.setdefault((one["family"], one["split"], one["level"]), set()).add(one["context"])
    assert all(len(contexts) == 1 for contexts in by_level.values())
    foreign = {
        one["arm"]: found["contexts"][one["context"]]["foreign"]
        for one in found["episodes"]
        if one["demonstrations"] == "as-trained"
    }
    assert "1" not in foreign["bursty"] and "0" not in foreign["isolated-chunks"]


def test_pictures_stand_there_once_and_without_a_rim(found):
    pictures = found["pictures"]
    assert len(pictures) == len({*pictures}) and all(pictures)
    drawn = {int(x) for one in found["episodes"] for x in numbers(one["pictures"])}
    drawn |= {
        int(x) for one in found["contexts"] for x in numbers(one["before"] + " " + one["after"])
    }
    assert drawn == {*range(len(pictures))}
    blank = tiles.TILES[tiles.BLANK].character
    for picture in pictures:
        rows = picture.split("\n")
        assert len({len(row) for row in rows}) == 1 and {*"".join(rows)} <= {
            *found["tiles"]["characters"]
        }
        assert rows[-1].strip(blank) and any(row[-1] != blank for row in rows)


def test_the_atlas_holds_every_tile():
    head, data = atlas().split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == "data:image/png;base64" and image.size == (ATLAS, ATLAS * len(tiles.TILES))
    strip = np.asarray(image.convert("RGB"), int).reshape(len(tiles.TILES), ATLAS, ATLAS, 3)
    assert np.abs(strip - tiles.atlas(ATLAS)).mean() < 4


def test_the_room_is_shared_by_what_there_is():
    quick = PRESETS["quick"]
    assert room(quick, 9, (9, 9)) == (2, 2)
    sizes = [room(dataclasses.replace(quick, horizon=t), 9, (9, 9)) for t in (16, 32, 64, 128, 512)]
    assert sizes[-1] == (1, 0) and sizes == sorted(sizes, reverse=True) and len({*sizes}) > 2
    assert room(CompareConfig(horizon=256, slots=8, demos=7, layers=12), 9, (9, 9))[1] == 0
    assert BUDGET < 3.1e6  # with the charts, a page stays under 8 MB


def test_a_page_stays_small(smoke):
    assert (smoke / "replays.json").stat().st_size < 1e6
    assert (smoke / "report.html").stat().st_size < 6e6


def test_equal_things_have_one_number():
    table = Table()
    assert [table.number(x) for x in ("a", {"b": 1}, "a", {"b": 1}, 3)] == [0, 1, 0, 1, 2]
    assert table.items == ["a", {"b": 1}, 3]
