"""Results in words: what stands on the terminal is what the rows say."""

from itertools import product

from experiments.results import verdicts_of
from experiments.summary import summary, table
from icl.statistics import interval


def unseen(**arms: list) -> list[dict]:
    """Rows of one-shot scores on unseen levels, one a seed; zero-shot ones are 0."""
    fixed = {"split": "unseen-level", "family": "all", "demonstrations": "whole"}
    return [
        {"arm": arm, "demos": k, "seed": seed, "score": k * values[seed], "acting": "sampled"}
        | fixed
        for arm, values in arms.items()
        for k, seed in product((0, 1), range(len(values)))
    ]


def test_the_table_holds_means_and_half_widths():
    rows = unseen(bursty=[0.5, 0.7], single=[0.1, 0.1])
    head, first, second = table(rows).splitlines()
    assert head.split() == ["score", "split", "k", "=", "0", "k", "=", "1"]
    half = interval([0.5, 0.7]).high - 0.6
    assert first.split("unseen-level")[1].split() == [
        "0.00",
        "±",
        "0.00",
        "0.60",
        "±",
        f"{half:.2f}",
    ]
    assert second.startswith("single") and second.endswith("0.10 ± 0.00")
    assert table([row for row in rows if row["seed"] == 0]).endswith("0.10")


def test_the_summary_says_what_is_open():
    rows = unseen(bursty=[0.5], shuffled=[0.1])
    text = summary({"rows": rows, "verdicts": verdicts_of(rows)})
    assert "undecided  bursty one-shot score on unseen levels is at least 0.4: 0.50" in text
    rows = unseen(bursty=[0.5, 0.5])
    text = summary({"rows": rows, "verdicts": verdicts_of(rows)})
    assert (
        "holds  bursty one-shot score on unseen levels is at least 0.4: 0.50 [0.50, 0.50]" in text
    )
