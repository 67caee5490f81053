"""A family under examination: its shapes, some levels, and episodes of random play in them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from envs.contract.faults import Fault, explain
from envs.core import Env, Episode, advance, begin
from envs.film import draws
from envs.oracle import optimal_return, random_return

COUNT = 128  # levels looked at together
DRAWS = 1024  # levels drawn in search of admissible ones
AFTER = 2  # steps beyond the horizon
# Compiles two to three times faster; for what runs once.
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}


class Worth(NamedTuple):
    """What a level is as a problem.

    Attributes:
        fingerprint: uint32[2].
        returns: float32[2], the exact returns of random play and of the optimum within the
            horizon; None where states are not numbered.
    """

    fingerprint: jax.Array
    returns: jax.Array | None


class Specimen:
    """What the checks look at; each part is made when it is first asked for.

    Args:
        family: a class, which is made with its defaults, or an environment; a check of its own
            finds out whether it is one.
    """

    def __init__(self, family: Any):
        self.family = type(family) if isinstance(family, Env) else family
        self._given = family

    @functools.cached_property
    def env(self) -> Env:
        """The environment. Raises Fault where it cannot be made."""
        if isinstance(self._given, Env):
            return self._given
        try:
            return self.family()
        except Exception as error:
            raise explain(error, f"{self.family.__name__}()", self.family) from None

    @functools.cached_property
    def shapes(self) -> dict[str, Any]:
        """What the methods return, as pytrees of jax.ShapeDtypeStruct; fields are traced, too.

        Raises:
            Fault: a method cannot be traced.
        """
        env = self.env
        key = jax.eval_shape(jax.random.key, 0)
        number = jax.ShapeDtypeStruct((), jnp.int32)
        found: dict[str, Any] = {}
        level = found["level"] = self.trace("level", key)
        if not jax.tree.leaves(level):
            raise Fault(
                f"level returns {say(level)}: return a Level, the arrays that tell levels apart"
            )
        state = found["state"] = self.trace("reset", key, level)
        found["seen"] = self.trace("observe", level, state)
        outcome = found["outcome"] = self.trace("step", key, level, state, number)
        found["successor"] = getattr(outcome, "state", None)
        if jax.tree.leaves(level) and not any(_is_key(leaf) for leaf in jax.tree.leaves(level)):
            found["copies"] = self.trace("symmetries", level)
        if draws(env):
            picture = found["picture"] = self.trace("draw", level, state)
            if type(env).view is not Env.view or say(picture).startswith("int32["):
                found["view"] = self.trace("view", level, state)
        if env.num_states and type(env).encode is not Env.encode:
            found["code"] = self.trace("encode", level, state)
            found["decoded"] = self.trace("decode", level, number)
        return found

    def trace(self, method: str, *arguments: Any) -> Any:
        """What a method returns, as shapes. Raises Fault where it cannot be traced."""
        env = self.env

        def call(env: Env, *arguments: Any) -> Any:
            return getattr(env, method)(*arguments)

        try:
            return jax.eval_shape(call, env, *arguments)
        except Exception as error:
            fault = explain(error, method, self.family)
        try:  # Is it for a field that ought to be static?
            jax.eval_shape(functools.partial(call, env), *arguments)
        except Exception:
            raise fault from None
        for name in _numbers(env):
            one = functools.partial(lambda n, x, *a: call(env.replace(**{n: x}), *a), name)
            try:
                jax.eval_shape(one, getattr(env, name), *arguments)
            except Exception:
                value = getattr(env, name)
                raise Fault(
                    f"{fault}; here it is the field {name}: declare it "
                    f"`{name}: {type(value).__name__} = static({value!r})`"
                ) from None
        raise fault

    @functools.cached_property
    def calls(self) -> dict[str, Any]:
        """As ``call_each``, under jax.vmap, with the keys of ``keys(0)``."""
        return self.run("a call under jax.vmap", _CALLS, keys(0))

    @property
    def levels(self) -> Any:
        """Levels as drawn, solvable or not, stacked on a leading axis [COUNT]."""
        return self.calls["level"]

    @functools.cached_property
    def draws(self) -> Worth:
        """What DRAWS levels as drawn, ``levels`` among them, are worth; on the host."""
        parts = [self.worth(self.levels)]
        for block in range(1, DRAWS // COUNT):
            parts.append(self.worth(self.run("level", _CALLS, keys(block))["level"]))
        return jax.tree.map(lambda *x: np.concatenate(x), *parts)

    def worth(self, levels: Any) -> Worth:
        """What COUNT stacked levels are worth; on the host."""
        return jax.device_get(self.run("tabulate", _WORTH, levels))

    @functools.cached_property
    def episodes(self) -> Episode:
        """One episode of uniform random play in each of ``levels``, stacked as [COUNT,
        horizon + AFTER + 1], the first step included; on the host."""
        return jax.device_get(self.run("an episode", _walk, self.levels))

    def run(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(env, *arguments)``, compiled. Raises Fault, of ``what``, where it fails."""
        compiled = function
        if not hasattr(function, "lower"):
            compiled = jax.jit(function, compiler_options=QUICK)
        try:
            return jax.block_until_ready(compiled(self.env, *arguments))
        except Exception as error:
            raise explain(error, what, self.family) from None


def keys(block: int) -> jax.Array:
    """Keys [COUNT] of one block of draws."""
    return jax.random.split(jax.random.key(block), COUNT)


def call_each(env: Env, key: jax.Array) -> dict[str, Any]:
    """Each method called once, by name; the key is consumed."""
    level_key, reset_key, step_key = jax.random.split(key, 3)
    level = env.level(level_key)
    state = env.reset(reset_key, level)
    action = jax.random.randint(step_key, (), 0, env.num_actions)
    return {
        "level": level,
        "reset": state,
        "step": env.step(step_key, level, state, action),
        "observe": env.observe(level, state),
    }


def _worth(env: Env, level: Any) -> Worth:
    if not env.num_states:
        return Worth(env.fingerprint(level), None)
    table = env.tabulate(level)
    returns = [random_return(table, env.horizon), optimal_return(table, env.horizon)]
    return Worth(env.fingerprint(level), jnp.stack(returns))


def _walk(env: Env, levels: Any) -> Episode:
    def one(key: jax.Array, level: Any) -> Episode:
        def step(episode, key):
            act_key, step_key = jax.random.split(key)
            action = jax.random.randint(act_key, (), 0, env.num_actions)
            after = advance(env, step_key, level, episode, action)
            return after, after

        first = begin(env, key, level)
        rest = jax.lax.scan(step, first, jax.random.split(key, env.horizon + AFTER))[1]
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rest)

    return jax.vmap(one)(keys(0), levels)


_CALLS = jax.jit(jax.vmap(call_each, (None, 0)), compiler_options=QUICK)
_WORTH = jax.jit(jax.vmap(_worth, (None, 0)), compiler_options=QUICK)


def at(tree: Any, *index: int) -> Any:
    """One element of stacked arrays."""
    return jax.tree.map(lambda x: jnp.asarray(x[index]), tree)


def named(tree: Any) -> list[tuple[str, Any]]:
    """The leaves of a pytree with their names, such as ``cell`` or ``bag[0]``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path).lstrip(".") or "itself", leaf) for path, leaf in leaves]


def say(tree: Any) -> str:
    """Shapes and dtypes in the words of the documentation: ``int32[3]``, ``State(int32[])``."""
    if hasattr(tree, "dtype"):
        return f"{tree.dtype}[{', '.join(map(str, tree.shape))}]"
    if tree is None:
        return "nothing"
    return f"{type(tree).__name__}({', '.join(say(leaf) for leaf in jax.tree.leaves(tree))})"


def differing(one: Any, other: Any, rounding: bool = False) -> str:
    """The name of the first leaf that is not the same to the bit, or with ``rounding`` to that;
    empty where all are."""
    for (path, x), (_, y) in zip(named(one), named(other), strict=True):
        x, y = np.asarray(x), np.asarray(y)
        if x.dtype != y.dtype or x.shape != y.shape:
            return path
        close = rounding and x.dtype.kind == "f" and np.allclose(x, y, 1e-5, 1e-6, equal_nan=True)
        if x.tobytes() != y.tobytes() and not close:
            return path
    return ""


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _numbers(env: Env) -> list[str]:
    """The traced fields."""
    return [f.name for f in dataclasses.fields(env) if f.metadata.get("pytree_node", True)]
