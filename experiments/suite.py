"""The environments of an experiment behind one interface, and their level sets."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import jax

import envs
from agents.transformer import Interface
from envs.core import Env, Policy
from envs.keys import new_key
from envs.levels import LevelSet, blank_levels, draw_levels, overlap, under
from envs.pixels import Pixels
from envs.wrappers import Scramble, Sticky, pad, wrap
from experiments.config import CompareConfig
from experiments.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Suite:
    """Families behind a common interface.

    Attributes:
        train: name -> environment, wrappers included; trained on, tested on unseen levels.
        held_out: name -> environment; tested on only.
        interface: what a model reads and says.
        tested: name -> environment that tests of a training family play in, where its dynamics
            are not those of training.
        experts: name -> who demonstrates a family that has no oracle (experiments/experts.py).
    """

    train: dict[str, Env]
    held_out: dict[str, Env]
    interface: Interface
    tested: dict[str, Env] = dataclasses.field(default_factory=dict)
    experts: dict[str, Policy] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sets:
    """Level sets of one seed.

    Attributes:
        train: of each training family, in the suite's order.
        test: one tuple of sets a family, as ``icl.evaluate`` takes them: seen and unseen levels
            of the training families, then the held-out families.
        names: (family, split) of every set in ``test``, in order.
    """

    train: tuple[LevelSet, ...]
    test: tuple[tuple[LevelSet, ...], ...]
    names: tuple[tuple[str, str], ...]


def build(config: CompareConfig) -> Suite:
    """The environments of a config.

    Raises:
        ConfigError: a family cannot be made, or the common interface is too small for one.
    """
    names = dict.fromkeys(config.families + config.test_families)
    try:
        inner = {
            name: envs.make(
                name,
                horizon=config.horizon,
                margin=config.margin,
                lethality=config.lethality,
                recoverability=config.recoverability,
            )
            for name in names
        }
        face = Interface(
            fields=max(env.num_fields for env in inner.values()),
            symbols=config.symbols or max(env.num_symbols for env in inner.values()) + 1,
            actions=max(env.num_actions for env in inner.values()),
            pixels=config.observations == "pixels",
        )

        def behind(env: Env, stickiness: float = config.stickiness) -> Env:
            common = pad(env, face.fields, face.symbols, face.actions)
            scrambled = wrap(
                Scramble,
                common,
                scramble_actions=config.scramble_actions,
                scramble_symbols=config.scramble_symbols,
            )
            sticky = wrap(Sticky, scrambled, stickiness=stickiness)
            return wrap(Pixels, sticky) if face.pixels else sticky

        _refuse_disguise(config, inner)
        unknown = [name for name in config.families if not inner[name].num_states]
        if config.method == "distillation" and unknown:
            raise ValueError(
                f"method distillation: its learner is tabular, and {unknown[0]} cannot number its "
                "states; leave that family out"
            )
        ready = {name: behind(env) for name, env in inner.items()}
        tested = {}
        if config.test_stickiness not in (-1, config.stickiness):
            tested = {name: behind(env, config.test_stickiness) for name, env in inner.items()}
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return Suite(
        train={name: ready[name] for name in config.families},
        held_out={
            # An overlapping family is tested on its unseen levels already.
            name: tested.get(name, ready[name])
            for name in config.test_families
            if not any(_alike(inner[name], inner[other]) for other in config.families)
        },
        interface=face,
        tested={name: env for name, env in tested.items() if name in config.families},
    )


def _refuse_disguise(config: CompareConfig, inner: dict[str, Env]) -> None:
    """Raises ConfigError for one family under two names, once to train on and once to hold out."""
    for name in config.test_families:
        for other in config.families:
            if _alike(inner[name], inner[other]) and not config.allow_overlap:
                raise ConfigError(
                    f"test family {name!r} is the training family {other!r} under another name; "
                    "take it from one of them, or say --allow-overlap"
                )


def draw(config: CompareConfig, suite: Suite, seed: int) -> Sets:
    """The level sets of one seed. Families differ in key, so that like families share no level.

    Raises:
        ConfigError: a family has too few levels, or a train and a test set share one.
    """
    key = jax.random.fold_in(new_key(seed), 2**30)
    families = [*suite.train.items(), *suite.held_out.items()]

    def of_family(index: int) -> tuple[LevelSet | None, tuple[LevelSet, ...]]:
        """The training set, if there is one, and the sets to test on."""
        name, env = families[index]
        own, expert = jax.random.fold_in(key, index), suite.experts.get(name)
        unseen = draw_levels(env, own, config.levels, split="test", expert=expert)
        if index >= len(suite.train):
            return None, (unseen,)
        zipf, count = config.zipf, config.train_levels
        seen = draw_levels(env, own, count, split="train", zipf=zipf, expert=expert)
        if name not in suite.tested:
            return seen, (seen, unseen)
        return seen, tuple(under(x, suite.tested[name], config.levels) for x in (seen, unseen))

    try:
        # A family's program takes seconds to compile, on one core.
        with ThreadPoolExecutor() as pool:
            drawn = list(pool.map(of_family, range(len(families))))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    train = tuple(seen for seen, _ in drawn if seen is not None)
    test = tuple(sets for _, sets in drawn)
    names = [
        (name, split)
        for (name, _), sets in zip(families, test, strict=True)
        for split in (("seen-level", "unseen-level") if len(sets) == 2 else ("unseen-family",))
    ]
    refuse_overlap(train, test, tuple(names))
    return Sets(train, test, tuple(names))


def blank(config: CompareConfig, suite: Suite) -> tuple[LevelSet, ...]:
    """Training sets in the form of those that ``draw`` returns, without levels."""
    return tuple(
        blank_levels(
            env,
            new_key(0),
            config.train_levels,
            zipf=config.zipf,
            expert=suite.experts.get(name),
        )
        for name, env in suite.train.items()
    )


def refuse_overlap(
    train: tuple[LevelSet, ...],
    test: tuple[tuple[LevelSet, ...], ...],
    names: tuple[tuple[str, str], ...],
) -> None:
    """Makes sure that no level to be tested as unseen was trained on.

    Raises:
        ConfigError: two levels have the same fingerprint; both are named.
    """
    flat = [pool for family in test for pool in family]
    for (name, split), pool in zip(names, flat, strict=True):
        if split == "seen-level":
            continue
        for other in train:
            if not _alike(other.env, pool.env):
                continue
            for first, second in overlap(other, pool):
                raise ConfigError(
                    f"{name}: training level {first} and {split} level {second} are the same; "
                    "draw test levels with split='test'"
                )


def _alike(first: Env, second: Env) -> bool:
    """Two environments are of one family, whatever is around them."""
    return type(first.bare) is type(second.bare)
