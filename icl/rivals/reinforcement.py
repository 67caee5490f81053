"""Reinforcement over attempts: proximal policy optimisation with memory, RL² (Duan et al. 2016,
arXiv 1611.02779; Wang et al. 2016, arXiv 1611.05763), with the transformer for its memory.

The model plays trials of E attempts in fresh levels (icl/attempts.py): a context holds all that it
did in this one, and what it earns in later attempts counts for what it found out in earlier ones.
So it is paid for exploring, and knows at a test how to. Each update plays four times as many steps
as imitation is shown and passes over them three times: it is an upper rival, not a matched one.

Because the names of actions and symbols are drawn anew in every level, a model that has not learned
to read its context earns little, and has little to reinforce. Hence the head start: for a share of
the updates it imitates what the arm shows, as ``icl.train.Program`` does.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from agents.ppo import PPOConfig, Sample, Steps, advantages, chosen, loss
from agents.tokens import Tokens
from agents.transformer import Parameters
from envs.levels import LevelSet
from envs.rollout import Trajectories
from icl.actor import Actor, ModelActor
from icl.attempts import Trial, trial
from icl.contexts import Context
from icl.train import Metrics, Program, Run, TrainState

TRIALS = 4  # of each level at the same time
EPOCHS = 3  # passes over what was played
PARTS = 4  # minibatches of a pass
PACE = 0.3  # of the learning rate: what was imitated is soon forgotten at larger steps
NUMBERS = PPOConfig(gamma=0.99)  # its sizes are not used


@dataclasses.dataclass(frozen=True)
class Reinforcement(Program):
    """Training on its own trials of E * T steps, after a head start on the arm's contexts. The
    parameters are the model's and a critic's: a weight for each of the features that the model's
    head reads."""

    def start(self, parameters: Parameters, key: jax.Array) -> TrainState:
        """A critic that says 0 everywhere, beside the model."""
        width = nnx.merge(self.graph, parameters).config.width
        return super().start({"model": parameters, "critic": jnp.zeros(width)}, key)

    def actor(self, parameters: Parameters) -> Actor:
        """The model; a critic does not act."""
        return ModelActor(parameters["model"], self.graph)

    def judge(self, parameters: Parameters, tokens: Tokens) -> tuple[jax.Array, jax.Array]:
        """Logits float32[B, L, A] and values float32[B, L] of Tokens[B, L]."""
        model = nnx.merge(self.graph, parameters["model"])
        features = model.features(tokens)
        return model.head(features).astype(jnp.float32), features @ parameters["critic"]

    def loss(
        self, parameters: Parameters, context: Context, count: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """Of the head start: the model's; the critic has no part in it."""
        return super().loss(parameters["model"], context, count)

    def pool(
        self, state: TrainState, run: Run, stored: Trajectories | None = None
    ) -> tuple[TrainState, Metrics]:
        """Imitation in the pools of the head start, and reinforcement in the others."""
        imitate = super().pool

        def reinforce(state: TrainState, run: Run) -> tuple[TrainState, Metrics]:
            return jax.lax.scan(lambda s, _: self.improve(s, run), state, length=self.config.pool)

        # Runs side by side take turns: batched, each would compute both and throw one away.
        @jax.custom_batching.sequential_vmap
        def either(state: TrainState, run: Run) -> tuple[TrainState, Metrics]:
            imitates = state.step < run.numbers.head_start * run.numbers.updates
            return jax.lax.cond(imitates, imitate, reinforce, state, run)

        return either(state, run)

    def improve(self, state: TrainState, run: Run) -> tuple[TrainState, Metrics]:
        """One pure update: play, then several passes over what was played."""
        key = jax.random.fold_in(state.key, state.step)
        play_key, learn_key = jax.random.split(key)
        done = self.explored(state.parameters, play_key, run.levels)
        # A trial is E attempts, however short: otherwise those levels that take few steps pay most.
        counts = done.attempt < self.config.slots
        done = done.replace(reward=jnp.where(counts, done.reward, 0.0))
        # [L, C, N, …] -> [C * N, L, …]
        flat = jax.tree.map(lambda x: x.reshape(len(x), -1, *x.shape[3:]).swapaxes(0, 1), done)
        _, value = self.judge(state.parameters, flat.tokens)
        lead = _advantages(value.T, flat.reward.T).T
        log = chosen(flat.logits, flat.action)
        # agents.ppo.Sample says ``seen`` of whatever the network reads.
        whole: Any = Sample(flat.tokens, flat.action, log, lead, lead + value)
        rate = PACE * run.numbers.schedule(state.step)

        def descend(carry: Any, part: Any) -> tuple[Any, Any]:
            parameters, moments = carry
            lead = part.advantage - part.advantage.mean()
            part = part._replace(advantage=lead / (part.advantage.std() + 1e-8))

            def objective(parameters: Parameters) -> Any:
                logits, value = self.judge(parameters, part.seen)
                right = (logits.argmax(-1) == part.action).mean()
                return loss(logits, value, part, NUMBERS)[0], right

            (total, right), gradient = jax.value_and_grad(objective, has_aux=True)(parameters)
            direction, moments = self.optimiser().update(gradient, moments)
            parameters = jax.tree.map(lambda old, step: old - rate * step, parameters, direction)
            return (parameters, moments), (total, right, optax.tree.norm(gradient))

        def epoch(carry: Any, key: jax.Array) -> tuple[Any, Any]:
            order = jax.random.permutation(key, whole.action.shape[0])
            parts = jax.tree.map(lambda x: x[order].reshape(PARTS, -1, *x.shape[1:]), whole)
            return jax.lax.scan(descend, carry, parts)

        keys = jax.random.split(learn_key, EPOCHS)
        (parameters, moments), told = jax.lax.scan(epoch, (state.parameters, state.moments), keys)
        total, right, norm = jax.tree.map(jnp.mean, told)
        rows, length = flat.action.shape
        metrics = Metrics(
            loss=total,
            accuracy=right,
            gradient=norm,
            rows=jnp.float32(rows),
            tokens=jnp.float32(rows * length),
            longest=jnp.float32(length),
            whole=jnp.float32(1),
            weights=optax.tree.norm(parameters),
        )
        return TrainState(parameters, moments, state.step + 1, state.key), metrics

    def explored(
        self, parameters: Parameters, key: jax.Array, pools: tuple[LevelSet, ...]
    ) -> Trial:
        """Trial[L, C, N]: N trials in each of ``config.levels`` levels of every family; the key is
        consumed."""
        pick_key, key = jax.random.split(key)
        keys = jax.random.split(pick_key, len(pools))
        levels = [x.levels(x.sample(k, self.config.levels)) for k, x in zip(keys, pools)]
        envs = [pool.env for pool in pools]
        steps = self.config.slots * max(env.horizon for env in envs)
        drawn = jnp.zeros(TRIALS, bool)
        return trial(self.actor(parameters), key, envs, levels, drawn, steps)


def _advantages(value: jax.Array, reward: jax.Array) -> jax.Array:
    """float32[L, B]: of trials, which end at their last step and nowhere else: an attempt that ends
    goes on in the next one."""
    after = jnp.concatenate([value[1:], jnp.zeros_like(value[:1])])
    end = jnp.arange(len(value))[:, None] == len(value) - 1
    end = jnp.broadcast_to(end, value.shape)
    none: Any = None
    steps = Steps(none, none, none, value, after, reward, end, end, none)
    return advantages(steps, NUMBERS)
