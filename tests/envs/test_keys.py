"""Keys: the numbers of JAX's threefry, whatever is asked of them and however it is compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from envs.keys import new_key

DRAWS = {
    "the key": jax.random.key_data,
    "split": lambda k: jax.random.key_data(jax.random.split(k, (3, 5))),
    "fold_in": lambda k: jax.random.key_data(jax.random.fold_in(k, 2**32 - 1)),
    "bits": lambda k: jax.random.bits(k, (5, 3)),
    "bytes": lambda k: jax.random.bits(k, (7,), "uint8"),
    "shorts": lambda k: jax.random.bits(k, (7,), "uint16"),
    "one number": lambda k: jax.random.uniform(k),
    "normal": lambda k: jax.random.normal(k, (4, 1, 2)),
    "randint": lambda k: jax.random.randint(k, (9,), 0, 5),
    "permutation": lambda k: jax.random.permutation(k, 31),
    "many keys": lambda k: jax.vmap(lambda k: jax.random.gumbel(jax.random.fold_in(k, 3), (3,)))(
        jax.random.split(k, 4)
    ),
    "in a scan": lambda k: jax.lax.scan(
        lambda total, k: (total + jax.random.uniform(jax.random.split(k)[1], (2,)), None),
        jnp.zeros(2),
        jax.random.split(k, 6),
    )[0],
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS.keys())
@pytest.mark.parametrize("seed", [0, 7, 2**32 - 1])
def test_the_numbers_are_those_of_jax(draw, seed):
    expected = np.asarray(draw(jax.random.key(np.uint32(seed))))
    for form in (draw, jax.jit(draw)):
        np.testing.assert_array_equal(form(new_key(np.uint32(seed))), expected)


def test_a_batch_of_keys_draws_what_each_of_them_does():
    keys = jax.random.split(new_key(1), 3)
    batched = jax.jit(jax.vmap(DRAWS["in a scan"]))(keys)
    each = np.stack(
        [DRAWS["in a scan"](jax.random.split(jax.random.key(1), 3)[i]) for i in range(3)]
    )
    np.testing.assert_array_equal(batched, each)


def test_wide_draws_that_cannot_be_counted_are_refused():
    with pytest.raises(NotImplementedError, match="fewer than 2\\*\\*32"):
        jax.jit(lambda: jax.random.bits(new_key(0), (2**16, 2**16))).lower()


@pytest.mark.parametrize("platforms", [["tpu"], ["cuda"], ["cpu", "cuda"]], ids="-".join)
def test_keys_are_lowered_for_other_devices(platforms):
    """Cross-compilation; no such device is needed for that."""
    draw = jax.jit(lambda key: jax.vmap(DRAWS["in a scan"])(jax.random.split(key, 3)))
    lowered = jax.export.export(draw, platforms=platforms)(new_key(0))
    assert lowered.mlir_module().count("stablehlo.xor") > 20


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="keys are kernels of their own on CPU")
def test_on_cpu_a_key_is_hashed_once_however_many_read_it():
    """The compiler would otherwise repeat the hash in each kernel that reads the key."""

    def play(key):
        rows = jax.vmap(lambda k: jax.random.uniform(jax.random.split(k)[0]))(
            jax.random.split(key, 64)
        )
        return jnp.stack([rows, rows + 1, rows * 2], axis=-1), rows.sum()

    text = jax.jit(play).lower(new_key(0)).compile().as_text()
    assert text.count(" call(") == 2  # the 64 keys, and the two keys of each
