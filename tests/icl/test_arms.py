"""Arms by name, and what an arm asks of its pool."""

import dataclasses
import math
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from icl.arms import NAMED, WHOLE, Arm, Deal, check, named


@pytest.mark.parametrize(
    ("name", "chunk", "burstiness", "shuffled", "alone"),
    [
        ("bursty", WHOLE, 1.0, False, False),
        ("nonbursty", WHOLE, 0.0, False, False),
        ("bursty-chunks", 4, 1.0, True, False),
        ("isolated-chunks", 4, 0.0, True, False),
        ("shuffled", 1, 1.0, True, False),
        ("single", WHOLE, 1.0, False, True),
    ],
)
def test_names_mean_what_the_contract_says(name, chunk, burstiness, shuffled, alone):
    arm = named(name)
    found = (arm.chunk, arm.burstiness, arm.shuffled, arm.alone)
    assert found == (chunk, burstiness, shuffled, alone)
    assert arm.sharing >= 2**10  # a bursty context is of one level throughout
    assert sorted(NAMED) == sorted(
        ["bursty", "nonbursty", "bursty-chunks", "isolated-chunks", "shuffled", "single"]
    )


def test_a_chunk_length_comes_with_the_name_or_beside_it():
    assert named("isolated-chunks:1") == dataclasses.replace(NAMED["isolated-chunks"], chunk=1)
    assert named("bursty-chunks:12", chunk=3).chunk == 12
    assert named("bursty-chunks", chunk=3).chunk == 3
    assert named("bursty-chunks:8,p=0.5,order=kept") == Arm(chunk=8, burstiness=0.5)
    assert named("bursty:p=.25,sharing=2,query=apart") == Arm(WHOLE, 0.25, 2, apart=True)
    assert named("nonbursty:order=shuffled") == Arm(burstiness=0.0, shuffled=True)
    # Other arms have their own length, whatever stands beside them.
    assert named("shuffled", chunk=3).chunk == 1
    assert named("bursty", chunk=3).chunk == WHOLE


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("burst", "unknown arm 'burst'; did you mean 'bursty'"),
        ("isolated-chunk:2", "unknown arm 'isolated-chunk:2'; did you mean 'isolated-chunks'"),
        ("", "known: bursty, nonbursty"),
        ("zzz", "known: bursty, nonbursty"),
        ("bursty:p=2", "'bursty:p=2': p is '2'; use a number from 0 to 1"),
        ("bursty:p=", "p is ''; use a number"),
        ("bursty:q=1", "unknown setting 'q'; known: p, sharing, query, order"),
        ("bursty:querry=apart", "did you mean 'query'"),
        ("bursty:sharing=1", "use a whole number of 2 or more"),
        ("bursty:query=away", "use among or apart"),
        ("bursty:p=0.5,p=0.5", "p has no place there, it stands twice"),
        ("single:p=0.5", "p has no place there, its contexts have no slots"),
        ("bursty-chunks:p=0.5,8", "a chunk length is"),
        ("bursty:4", "'bursty:4': a chunk length is .* chunked arm, as in 'isolated-chunks:1'"),
        ("shuffled:1", "chunked arm"),
        ("isolated-chunks:0", "whole number of 1 or more"),
        ("isolated-chunks:-1", "whole number"),
        ("isolated-chunks:two", "whole number"),
        ("isolated-chunks:2:3", "whole number"),
    ],
)
def test_a_name_out_of_place_is_refused(name, message):
    with pytest.raises(ValueError, match=message):
        named(name)


@pytest.mark.parametrize(
    ("arm", "pool", "message"),
    [
        (Arm(chunk=5), (8, 3, 12), r"chunk 5 does not divide horizon 12.*\[1, 2, 3, 4, 6, 12\]"),
        (Arm(chunk=24), (8, 3, 12), "chunk 24 does not divide horizon 12"),
        (Arm(chunk=-1), (8, 3, 12), "chunk -1 does not divide"),
        (Arm(burstiness=1.5), (8, 3, 12), "burstiness 1.5 is no probability"),
        (Arm(burstiness=-0.1), (8, 3, 12), "no probability"),
        (Arm(burstiness=math.nan), (8, 3, 12), "no probability"),
        (Arm(sharing=1), (8, 3, 12), "sharing 1 of 3 slots: .* at least 2"),
        (Arm(sharing=3), (8, 1, 12), "sharing 1"),
        (Arm(chunk=4, burstiness=0.0), (6, 3, 12), "pool too small: 6 foreign .* 7 levels.* has 6"),
        (Arm(chunk=4, burstiness=0.5), (12, 3, 12), "pool too small: .* has 6"),
        (Arm(chunk=1, burstiness=0.0), (1, 3, 12), "pool too small"),
        (Arm(chunk=4, sharing=2), (3, 3, 12), "pool too small: 3 foreign .* 4 levels.* has 3"),
    ],
)
def test_a_pool_or_number_that_does_not_fit_is_refused(arm, pool, message):
    with pytest.raises(ValueError, match=message):
        check(arm, *pool)


@pytest.mark.parametrize(
    ("arm", "pool", "deal"),
    [
        (Arm(), (8, 3, 12), Deal(8, 1.0, 1)),
        (Arm(), (1, 2, 12), Deal(1, 1.0, 1)),
        (Arm(burstiness=0.0), (8, 3, 12), Deal(0, 0.0, 1)),
        (Arm(chunk=4, burstiness=0.0), (7, 3, 12), Deal(0, 0.0, 1)),
        (Arm(chunk=4, burstiness=0.5), (14, 3, 12), Deal(7, 0.5, 1)),
        (Arm(chunk=4, sharing=2), (4, 3, 12), Deal(4, 1.0, 1)),
        # 24 foreign steps over 7 other levels: 3 or 4 of each.
        (Arm(chunk=1, burstiness=0.0), (8, 3, 12), Deal(0, 0.0, 4)),
        (Arm(chunk=1, burstiness=0.5, sharing=2), (8, 3, 12), Deal(4, 0.5, 8)),
        # No number of a pool's contexts comes to 0.3 of it: the realised share is reported.
        (Arm(burstiness=0.3), (8, 3, 12), Deal(2, 0.25, 1)),
        (Arm(chunk=5, burstiness=7.0, alone=True), (8, 1, 12), Deal(0, 0.0, 0)),
    ],
)
def test_what_a_deal_comes_to(arm, pool, deal):
    assert check(arm, *pool) == deal


def test_bursty_contexts_are_counted_as_they_are_dealt():
    """``arrange`` rounds p_b * n in float32; what is reported must be what is dealt, ties too."""
    shares = np.arange(201) / 200
    for levels in range(3, 161):
        dealt = np.asarray(jnp.round(jnp.asarray(shares, jnp.float32) * levels)).astype(int)
        for share, bursty in zip(shares.tolist(), dealt.tolist(), strict=True):
            arm = Arm(chunk=1, burstiness=share, sharing=2)
            try:
                assert check(arm, levels, 2, 1).bursty == bursty
            except ValueError:  # a ring of one context
                assert 1 in (bursty, levels - bursty)


def test_arms_are_read_without_jax():
    program = "import sys, icl.arms; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=900).returncode == 0
