"""The gallery: one page that loads nothing, with every family on it and films that play."""

import base64
import io
import itertools
import json
import re
from html.parser import HTMLParser

import jax
import numpy as np
import pytest
from PIL import Image

import envs
from envs import tiles
from envs.core import Env
from envs.film import Film, film
from experiments import cli_envs, gallery
from experiments.catalogue import Entry, Figures, entry, member
from experiments.gallery import card, page
from experiments.sheet import COLUMNS, write_sheet
from experiments.show import play

EVIL = "</style><img src=x onerror=alert(1)>\"'&{{ 7 * 7 }}"
FEW = ("dark-room", "key-door", "random-graph")


class Page(HTMLParser):
    """What a browser would see: tags with attributes, text, images as bytes."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self._inside = "", ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        self.text += data if self._inside != "style" else ""

    def images(self, kind: str) -> list[Image.Image]:
        """The images of a kind, png or gif, opened."""
        head = f"data:image/{kind};base64,"
        sources = [attrs.get("src") or "" for tag, attrs in self.tags if tag == "img"]
        return [
            Image.open(io.BytesIO(base64.b64decode(source.removeprefix(head), validate=True)))
            for source in sources
            if source.startswith(head)
        ]


@pytest.fixture(scope="module")
def cards():
    return [card(entry(name, envs.make(name))) for name in FEW]


def plain(name: str, **members) -> Entry:
    """An entry without figures."""
    family = type("Plain", (type(envs.make("dark-room")),), {"num_states": 0, **members})
    return entry(name, family())


def test_the_page_loads_nothing(cards):
    found = Page(page(cards))
    for _, attributes in found.tags:
        for name in ("src", "srcset", "data", "action"):
            assert attributes.get(name, "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    assert not {"link", "script", "iframe", "object", "base"} & {tag for tag, _ in found.tags}
    assert "url(" not in re.sub(r"url\(data:image/png;base64,[\w+/=]+\)", "", page(cards))
    policy = [attrs["content"] for tag, attrs in found.tags if "http-equiv" in attrs]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]


def test_every_family_is_there_with_its_film_and_its_words(cards):
    found = Page(page(cards))
    assert [attrs["id"] for tag, attrs in found.tags if tag == "article"] == list(FEW)
    films = found.images("gif")
    assert len(films) == len(FEW) and len(found.images("png")) == 2 * len(FEW)
    for name, moving in zip(FEW, films, strict=True):
        env = envs.make(name)
        this = next(c for c in cards if c.entry.name == name)
        frames = play(env, member(env, this.level)).frames
        assert frames is not None
        changes = sum((a != b).any() for a, b in itertools.pairwise(frames))
        assert moving.n_frames == changes + 1 > 1  # frames alike are shown as one, longer
        shape = np.array(frames.shape[:0:-1])
        assert (np.array(moving.size) % shape == 0).all() and max(moving.size) <= 340
        said = [this.entry.about, *this.entry.topics.values(), this.text, this.played]
        said += [meaning for _, _, meaning in this.entry.fields]
        assert all(said) and this.entry.topics.keys() >= {"Observation", "Actions", "Reward"}
        for words in said:
            assert " ".join(words.replace("``", "").split()) in " ".join(found.text.split())
        for tile in this.legend:
            assert tiles.TILES[tile].name in found.text
    assert {tile for c in cards for tile in c.legend} <= set(range(len(tiles.TILES)))


def test_the_figures_are_exact(cards):
    room = cards[0].entry.figures
    assert room and room.levels == 256
    assert 0 < room.random < 0.5 and room.optimal == 1  # no stickiness: the optimum arrives
    assert 0.5 < room.share <= 1 and 0 <= room.typical < 64
    assert (room.lethality, room.recoverability) == (0, 1)  # no way is lost in a room
    door = cards[1].entry.figures
    assert door and door.lethality == 0 and door.random < room.random
    lava = entry("lava-crossing", envs.make("lava-crossing")).figures
    assert lava and lava.lethality > 0.1


def test_the_oracle_plays_as_well_as_can_be(cards):
    for shown in cards:
        env = envs.make(shown.entry.name)
        level = member(env, shown.level)
        seen = play(env, level)
        assert seen.frames is not None and len(seen.frames) == seen.steps + 1
        assert seen.terminated and seen.rewards.tolist() == [0.0] * (seen.steps - 1) + [1.0]
        first = env.draw(level, env.reset(jax.random.key(0), level))
        assert (seen.frames[0] == np.asarray(first)).all()


def test_a_film_stops_with_its_episode():
    class Still:
        """Walks into the wall above."""

        def init(self, key, env, level):
            return None

        def act(self, key, env, level, state, carry):
            return jax.numpy.int32(0), None

    jax.tree_util.register_pytree_node(Still, lambda _: ((), None), lambda *_: Still())
    env = envs.make("dark-room", size=3, horizon=5)
    level = env.parse("S..\n...\n..G")
    seen = film(env, Still(), jax.random.key(0), level)
    assert (seen.steps, seen.terminated, seen.rewards.sum()) == (5, False, 0)
    assert seen.frames is not None and seen.frames.shape == (6, 3, 3)
    assert (seen.frames == seen.frames[0]).all()


def test_what_has_no_pictures_has_words():
    bare = card(plain("mine:Plain", draw=Env.draw))
    text = Page(page([bare])).text
    assert (bare.still, bare.film, bare.text, bare.legend) == ("", "", "", ())
    assert "mine:Plain" in text and "No pictures" in text and "States are not numbered" in text
    assert "random, " in bare.played  # no oracle: random play


def test_without_an_oracle_random_play_is_filmed():
    found = Page(page([card(plain("mine:Plain"))]))
    (moving,) = found.images("gif")
    assert moving.n_frames > 1 and "random, " in found.text


def test_hostile_words_are_text():
    about = plain("mine:Plain")
    evil = Entry(EVIL, about.env, EVIL, {EVIL: EVIL}, ((EVIL, EVIL, EVIL),), None)
    found = Page(page([card(evil)]))
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert found.text.count(EVIL) >= 6
    assert {attrs.get("src", "data:")[:5] for tag, attrs in found.tags if tag == "img"} == {"data:"}


def test_the_page_is_the_same_twice(cards):
    again = [card(entry(name, envs.make(name))) for name in FEW[:1]]
    assert page(cards[:1]) == page(again)


def test_a_family_without_documentation_is_described_by_its_sizes():
    silent = type("Silent", (type(envs.make("dark-room")),), {})
    found = entry("mine:Silent", silent())
    assert (found.about, found.topics) == ("", {})
    assert [name for name, _, _ in found.fields] == ["size", "density"]
    assert found.fields[0][2] == "cells along an edge."  # from the family that it extends
    spaces = {topic: words for topic, words, _ in card(found).spaces}
    assert spaces["Observation"] == "int32[1], 0 … 48" and spaces["Actions"] == "int32[], 0 … 3"


def test_the_command_writes_every_family(tmp_path, monkeypatch, capsys):
    """Which families is the command's business, what a card holds is not."""
    figures = Figures(1, 1.0, 0.0, 1.0, 0.0, 1.0, 0)
    monkeypatch.setattr("experiments.catalogue._measure", lambda env: figures)
    monkeypatch.setattr(gallery, "member", lambda env, index: None)
    monkeypatch.setattr(gallery, "has_text", lambda env: False)
    monkeypatch.setattr(gallery, "play", lambda env, level: film_of_nothing())
    monkeypatch.chdir(tmp_path)

    def parse(kind, command, words, default=None):
        return kind(gallery="--gallery" in words)

    assert cli_envs.run(["--gallery"], parse, lambda: None) == 0
    found = Page((tmp_path / "gallery.html").read_text(encoding="utf-8"))
    shown = [attrs["id"] for tag, attrs in found.tags if tag == "article"]
    assert shown == list(envs.names())
    said = capsys.readouterr().out.splitlines()
    assert said[-2:] == ["gallery gallery.html", "sheet   gallery.png"]


def test_the_sheet_shows_what_is_drawn(cards, tmp_path):
    """A picture a family in its place, the others' places are white."""
    write_sheet(cards[:2], tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        seen = np.asarray(sheet.convert("RGB")).astype(int)
    edge = seen.shape[1] // COLUMNS
    coloured = [
        (np.ptp(seen[:, i * edge + 8 : (i + 1) * edge - 8], axis=-1) > 40).mean()
        for i in range(COLUMNS)
    ]
    assert min(coloured[:2]) > 0.005 and not any(coloured[2:])


def film_of_nothing():
    return Film(None, np.zeros(0, np.int32), np.zeros(0, np.float32), False)


def test_the_page_goes_where_it_is_told(levelburst, tmp_path):
    done = levelburst("envs", "--gallery", "--families", "dark-room", "--out", "far/page.html")
    assert done.returncode == 0, done.stderr
    assert (
        (tmp_path / "far" / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    )
    assert "gallery far/page.html" in done.stdout
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["far"]'
