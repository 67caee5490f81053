"""Training: a pure update, and many of them fused in one compiled scan, generation included.

Everything here is about one run; ``icl/parallel.py`` puts several side by side.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx, struct

from agents import sharding
from agents.policy import Oracle
from agents.tokens import Tokens
from agents.transformer import Interface, ModelConfig, Parameters, define
from envs.levels import LevelSet
from envs.rollout import Trajectories, rollout
from icl.actor import Actor, ModelActor
from icl.arms import Arm
from icl.contexts import Context, arrange, whole_share


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """What shapes the training program; changing a field here recompiles.

    Attributes:
        slots: E, trajectories of a level, and slots of a context.
        levels: levels of each family in one update; an update reads levels * families contexts.
        pool: updates that one pool of groups spans. Foreign cells are exchanged within a pool.
        query_loss: train on the query's actions only, instead of on every valid action.
        clip: largest global norm of the gradient.
        beta2: Adam's second decay rate.
        accumulate: parts that an update reads its contexts in, one after the other, to save memory.
        history: episodes of the learner whose attempts ``distillation`` shows.
        fsdp: where devices share a run's contexts, they share its parameters and moments, too.
        fresh: a level's rollouts are drawn anew at every visit; else they are its own, the same at
            each, as in a store.
    """

    slots: int = 4
    levels: int = 16
    pool: int = 1
    query_loss: bool = False
    clip: float = 1.0
    beta2: float = 0.95
    accumulate: int = 1
    history: int = 128
    fsdp: bool = False
    fresh: bool = True


class Numbers(struct.PyTreeNode):
    """Settings that are numbers: traced leaves float32[], never a reason to recompile.

    Attributes:
        learning_rate: peak of the schedule: linear warm-up, then a cosine to a tenth of it.
        warmup: updates of the warm-up.
        updates: updates in all.
        weight_decay: decoupled, on matrices only.
        head_start: share of the updates that ``reinforcement`` imitates in, before it plays.
    """

    learning_rate: float | jax.Array = 3e-3
    warmup: float | jax.Array = 50.0
    updates: float | jax.Array = 1000.0
    weight_decay: float | jax.Array = 0.01
    head_start: float | jax.Array = 0.5

    def schedule(self, step: jax.Array) -> jax.Array:
        """float32[]: the learning rate at an update."""
        rise = (step + 1) / jnp.maximum(self.warmup, 1)
        past = (step - self.warmup) / jnp.maximum(self.updates - self.warmup, 1)
        fall = 0.55 + 0.45 * jnp.cos(jnp.pi * jnp.clip(past, 0, 1))
        return self.learning_rate * jnp.minimum(rise, fall)


class TrainState(struct.PyTreeNode):
    """All that an update changes.

    Attributes:
        parameters: the model's, float32.
        moments: the optimiser's state.
        step: int32[], updates done.
        key: the run's key; update n uses ``fold_in(key, n)``, so it is never consumed.
    """

    parameters: Parameters
    moments: optax.OptState
    step: jax.Array
    key: jax.Array


class Metrics(struct.PyTreeNode):
    """Of one update, float32[] each.

    Attributes:
        loss: mean cross-entropy in nats over the actions trained on; of ``reinforcement`` PPO's.
        accuracy: share of them whose most probable action was the chosen one.
        gradient: global norm before clipping.
        rows: contexts of the batch.
        tokens: their valid positions.
        longest: valid positions of the longest.
        whole: share of its cells that hold a whole trajectory.
        weights: global norm of the parameters afterwards: what is not finite among them shows.
    """

    loss: jax.Array
    accuracy: jax.Array
    gradient: jax.Array
    rows: jax.Array
    tokens: jax.Array
    longest: jax.Array
    whole: jax.Array
    weights: jax.Array


class Run(struct.PyTreeNode):
    """What one run trains on.

    Attributes:
        arm: the rule of its contexts.
        numbers: its numeric settings.
        levels: one LevelSet a training family.
    """

    arm: Arm
    numbers: Numbers
    levels: tuple[LevelSet, ...]


@dataclasses.dataclass(frozen=True)
class Program:
    """The compiled part of training, for one model and one TrainConfig: imitation of every action
    in the contexts of an arm. Rivals that learn otherwise (icl/rivals/) override what is theirs:
    who plays, how it is arranged, what is read, what is to be said, and how it acts.

    Attributes:
        graph: the model's definition.
        config: the shapes.
    """

    graph: nnx.GraphDef
    config: TrainConfig

    def start(self, parameters: Parameters, key: jax.Array) -> TrainState:
        """The state of a fresh run with a model's drawn parameters; the key becomes the run's."""
        return TrainState(parameters, self.optimiser().init(parameters), jnp.int32(0), key)

    def actor(self, parameters: Parameters) -> Actor:
        """Who acts with trained parameters."""
        return ModelActor(parameters, self.graph)

    def played(self, levels: LevelSet, keys: jax.Array, indices: jax.Array) -> Trajectories:
        """Trajectories[n, E, T] in the levels with indices int32[n], by one key [n] each: those of
        whoever demonstrates them."""
        return rollout(
            levels.env,
            levels.expert or Oracle(),
            keys,
            levels.levels(indices),
            rollouts=self.config.slots,
            memory=levels.optimal(indices),
        )

    def arranged(self, key: jax.Array, arm: Arm, groups: Trajectories) -> Context:
        """One family's pool as contexts; the key is consumed."""
        return arrange(key, arm, groups)

    def tokens(self, context: Context) -> Tokens:
        """Tokens[B, P]: what the model reads of contexts [B, P]."""
        return context.tokens

    def labels(self, context: Context) -> jax.Array:
        """int32[B, P]: the action to be said at each position."""
        return context.steps.action

    def optimiser(self) -> optax.GradientTransformation:
        """Clipping and Adam; learning rate and weight decay are applied in ``update``."""
        return optax.chain(
            optax.clip_by_global_norm(self.config.clip),
            optax.scale_by_adam(b2=self.config.beta2),
        )

    def loss(
        self, parameters: Parameters, context: Context, count: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Cross-entropy and accuracy, float32[] each, summed over the actions trained on and
        divided by ``count``, by default their own number: then these are means."""
        logits = nnx.merge(self.graph, parameters)(self.tokens(context))
        wanted = self.wanted(context)
        label = jnp.where(wanted, self.labels(context), 0)
        entropy = optax.softmax_cross_entropy_with_integer_labels(logits, label)
        count = jnp.maximum(wanted.sum(), 1) if count is None else count
        right = (logits.argmax(-1) == label) & wanted
        return (entropy * wanted).sum() / count, right.sum() / count

    def wanted(self, context: Context) -> jax.Array:
        """bool[B, P]: the positions whose actions are trained on."""
        return context.query if self.config.query_loss else context.valid

    def gradient(
        self, parameters: Parameters, context: Context
    ) -> tuple[tuple[jax.Array, jax.Array], Parameters]:
        """Loss, accuracy and gradient of their means over all of Context[B, P], which is read in
        ``config.accumulate`` parts: a part counts by its actions, so the parts do not matter."""
        count = jnp.maximum(self.wanted(context).sum(), 1)
        pass_over = jax.value_and_grad(self.loss, has_aux=True)

        def part(context: Context) -> Any:
            found, gradient = pass_over(sharding.in_use(parameters), sharding.share(context), count)
            return found, sharding.at_rest(gradient, self.config.fsdp)

        parts = self.config.accumulate
        if parts == 1:
            return part(context)

        def cut(x: jax.Array) -> jax.Array:
            """[B, …] -> [parts, B / parts, …]; every part takes of every device's contexts."""
            return jnp.swapaxes(x.reshape(-1, parts, *x.shape[1:]), 0, 1)

        def add(total: Any, context: Context) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, part(context)), None

        nothing = ((jnp.float32(0), jnp.float32(0)), jax.tree.map(jnp.zeros_like, parameters))
        return jax.lax.scan(add, nothing, jax.tree.map(cut, context))[0]

    def update(self, state: TrainState, run: Run, context: Context) -> tuple[TrainState, Metrics]:
        """One pure update on contexts Context[B, P]."""
        (loss, accuracy), gradient = self.gradient(state.parameters, context)
        direction, moments = self.optimiser().update(gradient, state.moments)
        rate = run.numbers.schedule(state.step)

        def move(old: jax.Array, step: jax.Array) -> jax.Array:
            decay = run.numbers.weight_decay if old.ndim > 1 else 0.0
            return old - rate * (step + decay * old)

        parameters = jax.tree.map(move, state.parameters, direction)
        state = TrainState(
            parameters=sharding.at_rest(parameters, self.config.fsdp),
            moments=sharding.at_rest(moments, self.config.fsdp),
            step=state.step + 1,
            key=state.key,
        )
        lengths = context.slot[:, -1].astype(jnp.float32)
        return state, Metrics(
            loss=loss,
            accuracy=accuracy,
            gradient=optax.tree.norm(gradient),
            rows=jnp.float32(lengths.size),
            tokens=lengths.sum(),
            longest=lengths.max(),
            whole=whole_share(context, run.arm, run.levels[0].env.horizon),
            weights=optax.tree.norm(parameters),
        )

    def contexts(self, key: jax.Array, run: Run, stored: Trajectories | None = None) -> Context:
        """The contexts of one pool, Context[U, B, P] for U updates: every family's share is
        generated and arranged by its own code, then they are set side by side. The key is
        consumed; the transitions do not depend on the arm. Devices that share a run generate
        levels / devices of them each, then arrange all and keep their own contexts.

        Args:
            key: consumed.
            run: what is trained on.
            stored: Trajectories[family, n, E, T], the groups of ``visits``, where they are not to
                be generated.
        """
        return sharding.by_hand(self._contexts, axis=1)(key, run, stored)

    def visits(self, key: jax.Array, run: Run) -> tuple[jax.Array, jax.Array]:
        """Which levels a pool visits, int32[family, n], and for each family the key of what is
        played there; the key is that of ``contexts``, which visits the same."""
        count = self.config.pool * self.config.levels
        level_keys, rollout_keys, _ = jax.random.split(key, (3, len(run.levels)))
        indices = [x.sample(level_keys[i], count) for i, x in enumerate(run.levels)]
        return jnp.stack(indices), rollout_keys

    def _contexts(self, key: jax.Array, run: Run, stored: Trajectories | None) -> Context:
        arrange_keys = jax.random.split(key, (3, len(run.levels)))[2]
        stacked = self._groups(*self.visits(key, run), run) if stored is None else stored
        shares = jax.vmap(lambda k, g: self.arranged(k, run.arm, g))(arrange_keys, stacked)

        def batches(x: jax.Array) -> jax.Array:
            """[family, pool * n, …] -> [pool, family * n, …]."""
            cut = x.reshape(x.shape[0], self.config.pool, -1, *x.shape[2:])
            return jnp.moveaxis(cut, 1, 0).reshape(self.config.pool, -1, *x.shape[2:])

        return jax.tree.map(batches, shares)

    def _groups(self, visits: jax.Array, rollout_keys: jax.Array, run: Run) -> Trajectories:
        """Trajectories[family, n, E, T] in the levels int32[family, n]."""
        groups, count = [], visits.shape[1]
        for i, levels in enumerate(run.levels):
            if self.config.fresh:
                keys = jax.random.split(rollout_keys[i], count)
            else:
                keys = levels.rollout_keys(visits[i])
            keys, indices = sharding.own((keys, visits[i]))
            groups.append(sharding.joined(self.played(levels, keys, indices), count))
        return jax.tree.map(lambda *x: jnp.stack(x), *groups)

    def chunk(
        self, state: TrainState, run: Run, pools: int, stored: Trajectories | None = None
    ) -> tuple[TrainState, Metrics]:
        """``pools`` * ``config.pool`` updates in one scan; Metrics[updates]. ``stored`` has the
        groups of all pools, Trajectories[pools, family, n, E, T], where they are not to be
        generated."""

        def one(state: TrainState, stored: Trajectories | None) -> tuple[TrainState, Metrics]:
            return self.pool(state, run, stored)

        state, metrics = jax.lax.scan(one, state, stored, length=pools)
        return state, jax.tree.map(lambda x: x.ravel(), metrics)

    def pool(
        self, state: TrainState, run: Run, stored: Trajectories | None = None
    ) -> tuple[TrainState, Metrics]:
        """The updates of one pool; Metrics[config.pool]."""
        context = self.contexts(jax.random.fold_in(state.key, state.step), run, stored)
        return jax.lax.scan(lambda s, c: self.update(s, run, c), state, context)


def initial(
    config: ModelConfig,
    interface: Interface,
    key: jax.Array,
    shapes: TrainConfig,
    method: type[Program] = Program,
) -> tuple[Program, TrainState]:
    """A Program and the TrainState of a fresh run; the key becomes the run's."""
    graph, parameters = define(config, interface, jax.random.fold_in(key, 2**31))
    made = method(graph, shapes)
    return made, made.start(parameters, key)
