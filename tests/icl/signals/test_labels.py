"""Labels: closed forms, loops, and the mixture's limits."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from icl.signals.labels import (
    TERMS,
    Scores,
    Terms,
    alignment,
    coherence,
    embedding,
    mixed,
    quality,
)
from icl.signals.thinking import Record

L, N, S, V, A = 3, 2, 7, 9, 4


@pytest.fixture(scope="module")
def record() -> Record:
    rng = np.random.default_rng(0)
    shape = (L, N, S)
    live = np.arange(S) < rng.integers(3, S + 1, (L, N, 1))
    answer = live & (np.arange(S) >= 2)
    answer[0, 0] = False  # a run that is not answered
    optimal = live & (rng.random(shape) < 0.5)
    made: dict[str, Any] = {
        "observation": rng.integers(0, V, (*shape, 2)),
        "action": rng.integers(0, A, shape),
        "successor": rng.integers(0, V, (*shape, 2)),
        "start": np.zeros(shape, bool),
        "answer": answer,
        "live": live,
        "open": live,
        "optimal": optimal,
        "promise": rng.random(shape, np.float32),
        "drop": rng.random(shape, np.float32),
        "informs": live & (rng.random(shape) < 0.5),
    }
    return Record(**jax.tree.map(jnp.asarray, made))


def test_steps_are_alike_by_what_they_share(record):
    phi = embedding(record, V, A)
    np.testing.assert_allclose(jnp.linalg.norm(phi, axis=-1), 1, rtol=1e-5)

    def cosine(**changed) -> float:
        one = jax.tree.map(lambda x: x[:1, :1, :1], record)
        one = one.replace(observation=jnp.array([[[[3, 3]]]]), successor=jnp.array([[[[3, 3]]]]))
        other = one.replace(**changed)
        return float((embedding(one, V, A) * embedding(other, V, A)).sum())

    assert cosine() == pytest.approx(1)
    away = (record.action[:1, :1, :1] + 1) % A
    assert cosine(action=away) == pytest.approx(2 / 3, abs=1e-5)
    # A neighbouring symbol: (½·1 + 1·½) / (1 + ¼ + ¼) of its field, which is one sixth of all.
    near, far = jnp.array([[[[4, 3]]]]), jnp.array([[[[7, 3]]]])
    assert cosine(observation=near) == pytest.approx(5 / 6 + (1 / 1.5) / 6, abs=1e-5)
    assert cosine(observation=far) == pytest.approx(5 / 6, abs=1e-5)


def test_alignment_is_with_the_nearest_step_of_the_answer(record):
    phi = embedding(record, V, A)
    value, there = alignment(phi, record)
    for i, j, t in np.ndindex(L, N, S):
        answer = [s for s in range(S) if record.answer[i, j, s] and record.live[i, j, s]]
        thinks = bool(record.live[i, j, t] and not record.answer[i, j, t])
        assert there[i, j, t] == (thinks and bool(answer))
        if there[i, j, t]:
            best = max(float(phi[i, j, t] @ phi[i, j, s]) for s in answer)
            assert value[i, j, t] == pytest.approx(best, abs=1e-5)
    assert there.any()


def test_coherence_is_the_infonce_against_other_levels(record):
    phi, key, tau = embedding(record, V, A), jax.random.key(3), 0.2
    value, there = coherence(phi, record, key, 5, tau)
    assert not there[..., 0].any() and (there[..., 1:] == record.live[..., 1:]).all()
    weight = jnp.where(record.live, 0.0, -jnp.inf).reshape(-1)
    drawn = np.asarray(jax.random.categorical(key, weight, shape=(5,)))
    homes = [np.unravel_index(n, (L, N, S)) for n in drawn]
    assert all(record.live[home] for home in homes)
    for i, j, t in np.ndindex(L, N, S):
        if t and record.live[i, j, t]:
            before = phi[i, j, t - 1]
            own = np.exp(float(before @ phi[i, j, t]) / tau)
            others = sum(np.exp(float(before @ phi[h]) / tau) for h in homes if h[0] != i)
            assert value[i, j, t] == pytest.approx(np.log(own / (own + others)), abs=1e-4)
    assert (value[there] <= 1e-6).all()


def test_quality_is_the_best_action_or_information(record):
    plain = np.where(record.optimal, 1.0, 0.0)
    np.testing.assert_array_equal(quality(record, Terms(information=False)), plain)
    np.testing.assert_allclose(quality(record, Terms()), np.maximum(plain, record.promise))
    drop = np.maximum(plain, np.clip(record.drop, 0, 1))
    np.testing.assert_allclose(quality(record, Terms(expected=False)), drop)


def test_a_mixture_hears_the_loudest():
    value = jnp.array([[0.5, 1.0, -2.0], [0.2, 0.2, 0.2], [0.0, 0.0, 0.0], [9.0, 0.5, -1.0]])
    there = jnp.array([[True, True, True]] * 2 + [[False] * 3, [False, True, True]])
    found = mixed(Scores(value, there), Terms())
    weights = np.exp(value[0]) / np.exp(value[0]).sum()
    assert found[0] == pytest.approx(float(weights @ value[0]), abs=1e-6)
    assert found[1] == pytest.approx(0.2) and found[2] == 0
    pair = np.exp([0.5, -1.0])
    assert found[3] == pytest.approx(float(pair @ [0.5, -1.0] / pair.sum()), abs=1e-6)
    for i, name in enumerate(TERMS):
        left = mixed(Scores(value, there), Terms(**{name: False}))
        rest = [k for k in range(3) if k != i]
        soft = np.exp(value[0, rest]) / np.exp(value[0, rest]).sum()
        assert left[0] == pytest.approx(float(soft @ value[0, rest]), abs=1e-6)
    none = Terms(alignment=False, quality=False, coherence=False)
    assert not mixed(Scores(value, there), none).any()
    # Above the mean, below the maximum.
    assert value[0].mean() < found[0] < value[0].max()
