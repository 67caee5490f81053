"""Studies of the learner: its size, how long it trains, what a token holds."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from experiments.config import CompareConfig
from experiments.studies.data import ALIKE, vary
from experiments.study import ABOVE, Found, Point, Study, Verdict, claim, difference, slope

SIZES = ((16, 1, 1), (32, 1, 1), (64, 2, 2), (128, 3, 4))  # width, layers, heads


def parameters(width: int, layers: int) -> int:
    """Of the blocks."""
    return 12 * width**2 * layers


def _size(base: CompareConfig) -> list[Point]:
    points = []
    for width, layers, heads in SIZES:
        same = (width, layers, heads) == (base.width, base.layers, base.heads)
        rate = base.learning_rate * min(1.0, base.width / width)
        own = {"width": width, "layers": layers, "heads": heads, "learning_rate": rate}
        config = vary(base) if same else vary(base, **own)
        points.append(Point({"parameters": parameters(width, layers)}, config, "bursty"))
    return points


def _size_claims(found: Found) -> list[Verdict]:
    sizes = [int(point.at["parameters"]) for point in found.points]
    one = [found.scores(parameters=n) for n in sizes]
    none = [found.scores(parameters=n, demos=0) for n in sizes]
    steps = [float(i) for i in range(len(sizes))]
    paper = "one-shot −.10, .05, .46, .34 at 1, 10, 30, 100M"
    return [
        claim("S8", "one-shot on unseen levels rises from the smallest model to the third",
              difference(one[2], one[0]), ABOVE, paper),
        claim("S8", "it is in plateau: the largest model brings less than 0.05 over the third",
              difference(one[3], one[2]), (-math.inf, 0.05), paper),
        claim("S8", "zero-shot stays flat in size (slope a step within ± 0.05)",
              slope(steps, none), ALIKE, "−.15, −.17, −.14, −.13"),
    ]  # fmt: skip


SIZE = Study(
    "model-size",
    "How large must the model be?",
    ("parameters",),
    _size,
    _size_claims,
    "Raparthy et al.: a rise, then a plateau; zero-shot flat.",
)

FORMS = {
    "step": {},
    "step, no rewards": {"rewards": False},
    "interleaved": {"tokens": "interleaved"},
}


def _tokens(base: CompareConfig) -> list[Point]:
    return [Point({"tokens": name}, vary(base, **own), "bursty") for name, own in FORMS.items()]


def _tokens_claims(found: Found) -> list[Verdict]:
    made = []
    for split in ("unseen-level", "unseen-family"):
        usual, blind, apart = (found.scores(split, tokens=name) for name in FORMS)
        made += [
            claim("S10", f"rewards in the tokens are not needed: without them the one-shot score "
                  f"is lower by less than 0.05 ({split})", difference(usual, blind),
                  (-math.inf, 0.05), "reward tokens are not needed"),
            claim("", f"one token a step is as good as two: it is lower by less than 0.05 at the "
                  f"same updates ({split})", difference(apart, usual), (-math.inf, 0.05)),
        ]  # fmt: skip
    return made


TOKENS = Study(
    "tokens",
    "Must tokens tell rewards, and does the form of the tokens matter?",
    ("tokens",),
    _tokens,
    _tokens_claims,
    "Raparthy et al.: state, action and reward are tokens of their own; rewards can be left out.",
)

KINDS = ("transformer", "recurrent")


def _architecture(base: CompareConfig) -> list[Point]:
    return [
        Point({"kind": kind}, vary(base, kind=kind) if kind != base.kind else vary(base), "bursty")
        for kind in KINDS
    ]


def _architecture_claims(found: Found) -> list[Verdict]:
    made = []
    for split in ("unseen-level", "unseen-family"):
        one, other = (found.scores(split, kind=kind) for kind in KINDS)
        none = found.scores(split, 0, kind="recurrent")
        made += [
            claim("", f"the transformer beats the recurrent model at one demonstration ({split})",
                  difference(one, other), ABOVE),
            claim("", f"the recurrent model learns nothing from one demonstration ({split}, within "
                  "± 0.05)", difference(other, none), ALIKE,
                  "Chan et al. (2022): recurrent networks stay at chance"),
        ]  # fmt: skip
    return made


ARCHITECTURE = Study(
    "architecture",
    "Does it take attention?",
    ("demos", "kind"),
    _architecture,
    _architecture_claims,
    "Chan et al. (arXiv 2205.05055): LSTMs and RNNs do not learn in context what transformers do. "
    "Of equal width and depth, the recurrent model here has a quarter more parameters.",
)

LONGER = 8  # times as many updates
FEW = 256  # training levels of a family: weights can come to know them


def _transience(base: CompareConfig) -> list[Point]:
    long = dataclasses.replace(
        base, updates=LONGER * base.updates, curve=16, train_levels=FEW, warmup=base.warmup
    )
    return [
        Point({"weight_decay": decay}, vary(long, weight_decay=decay), "bursty")
        for decay in (0.0, 0.1)
    ]


def _transience_claims(found: Found) -> list[Verdict]:
    made = []
    for decay in (0.0, 0.1):
        at: dict[str, Any] = {"weight_decay": decay}
        last = found.scores(**at)
        seen, none = found.scores("seen-level", 0, **at), found.scores("unseen-level", 0, **at)
        made.append(
            claim("", f"weight decay {decay}: seen levels are known without a context at the end "
                  "(zero-shot on seen above that on unseen levels)", difference(seen, none), ABOVE)
        )  # fmt: skip
        peak = found.peaks(**at)
        made.append(
            claim("", f"weight decay {decay}: one-shot on unseen levels has fallen below its peak "
                  "by more than 0.05 at the end", difference(peak, last), (0.05, math.inf),
                  "Singh et al. (2023): in-context learning rises, then decays; L2 keeps it")
        )  # fmt: skip
    return made


TRANSIENCE = Study(
    "transience",
    "Does learning in context go away again when training goes on, and does weight decay keep it?",
    ("update", "weight_decay"),
    _transience,
    _transience_claims,
    "Singh et al. (2023): it is transient; L2 regularisation keeps it.",
)

STUDIES = (SIZE, TOKENS, ARCHITECTURE, TRANSIENCE)
