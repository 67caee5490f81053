"""Checkpoints: what is restored is what was saved, or an error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents import checkpoint
from agents.transformer import Interface, ModelConfig, define


def drawn(seed):
    """Parameters of a small transformer."""
    model = ModelConfig(width=16, layers=2, heads=2)
    return define(model, Interface(fields=2, symbols=21, actions=4), jax.random.key(seed))[1]


@pytest.fixture(scope="module")
def parameters():
    return drawn(4)


def test_what_is_restored_is_what_was_saved(tmp_path, parameters):
    path = tmp_path / "new" / "cell"
    checkpoint.save(path, parameters)
    like = drawn(5)
    restored = checkpoint.restore(path, like)
    assert jax.tree.structure(restored) == jax.tree.structure(parameters)
    for new, old in zip(jax.tree.leaves(restored), jax.tree.leaves(parameters), strict=True):
        assert new.dtype == old.dtype
        assert np.asarray(new).tobytes() == np.asarray(old).tobytes()
    different = [
        (np.asarray(x) != np.asarray(y)).any()
        for x, y in zip(jax.tree.leaves(restored), jax.tree.leaves(like), strict=True)
    ]
    assert any(different)  # it was not ``like`` that came back


def test_every_bit_of_a_float_is_kept(tmp_path):
    odd = np.array([-0.0, 3e38, 1e-45, np.pi], np.float32)
    tree = {"odd": odd, "half": jnp.asarray(odd, jnp.bfloat16), "count": np.int32(7)}
    checkpoint.save(tmp_path / "odd", tree)
    restored = checkpoint.restore(tmp_path / "odd", tree)
    for name, value in tree.items():
        assert np.asarray(restored[name]).tobytes() == np.asarray(value).tobytes()
        assert restored[name].dtype == value.dtype


def test_runs_of_a_stack_are_saved_and_restored(tmp_path, parameters):
    """Arrays on a device are saved like arrays on the host."""
    device = jax.tree.map(lambda x: jax.device_put(x, jax.devices()[-1]), parameters)
    checkpoint.save(tmp_path / "cell", device)
    restored = checkpoint.restore(tmp_path / "cell", parameters)
    jax.tree.map(np.testing.assert_array_equal, restored, parameters)


def test_saving_again_overwrites(tmp_path):
    like = {"x": np.zeros(3, np.float32)}
    checkpoint.save(tmp_path / "cell", {"x": np.ones(3, np.float32)})
    checkpoint.save(tmp_path / "cell", {"x": np.full(3, 2, np.float32)})
    np.testing.assert_array_equal(checkpoint.restore(tmp_path / "cell", like)["x"], [2, 2, 2])
    assert [path.name for path in tmp_path.iterdir()] == ["cell"]  # nothing half-made is left


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_what_is_not_finite_is_not_saved(tmp_path, value, dtype):
    tree = {"count": np.int32(1), "x": [jnp.zeros(3, dtype), jnp.full(2, value, dtype)]}
    with pytest.raises(FloatingPointError, match=r"cell is not saved: \['x'\]\[1\] is not finite"):
        checkpoint.save(tmp_path / "cell", tree)
    assert [*tmp_path.iterdir()] == []


def test_notes_are_kept(tmp_path):
    checkpoint.save(tmp_path / "cell", {"x": np.zeros(3)}, {"update": 7})
    assert checkpoint.notes(tmp_path / "cell") == {"update": 7}


def test_a_checkpoint_without_a_manifest_is_adopted_on_demand(tmp_path, parameters):
    path = tmp_path / "cell"
    with checkpoint._alone() as writer:  # as before there were manifests
        writer.save(path, jax.device_get(parameters))
    with pytest.raises(OSError, match=r"cell was saved by .* -m agents.checkpoint .*cell"):
        checkpoint.restore(path, parameters)
    checkpoint.adopt(path)
    restored = checkpoint.restore(path, parameters)
    jax.tree.map(np.testing.assert_array_equal, restored, parameters)
    with pytest.raises(ValueError, match="is no checkpoint of an older version"):
        checkpoint.adopt(path)


def test_a_manifest_of_an_older_form_is_adopted_on_demand(tmp_path, parameters):
    path = tmp_path / "cell"
    checkpoint.save(path, parameters, {"update": 7})
    (path / "manifest.json").write_text('{\n "files": {},\n "schema": 1\n}\n')
    with pytest.raises(OSError, match=r"cell was saved by an older version"):
        checkpoint.restore(path, parameters)
    checkpoint.adopt(path)
    restored = checkpoint.restore(path, parameters)
    jax.tree.map(np.testing.assert_array_equal, restored, parameters)
    assert checkpoint.notes(path) == {"update": 7}


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*nowhere"):
        checkpoint.restore(tmp_path / "nowhere", {"x": np.zeros(3)})


@pytest.mark.parametrize("shape", [(2, 4), (2, 2), (3, 2), (6,), (1, 2, 3)])
def test_another_shape_is_refused(tmp_path, shape):
    checkpoint.save(tmp_path / "cell", {"x": np.arange(6, dtype=np.float32).reshape(2, 3)})
    with pytest.raises(ValueError, match=r"cell .*x.* is float32 \(2, 3\), expected float32 \("):
        checkpoint.restore(tmp_path / "cell", {"x": np.zeros(shape, np.float32)})


@pytest.mark.parametrize("names", ["y", "xy"])
def test_another_structure_is_refused(tmp_path, names):
    checkpoint.save(tmp_path / "cell", {"x": np.zeros(2, np.float32)})
    with pytest.raises(ValueError):
        checkpoint.restore(tmp_path / "cell", {name: np.zeros(2, np.float32) for name in names})
