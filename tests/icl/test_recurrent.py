"""The recurrent model in the transformer's place: training takes it as it is."""

import jax
import numpy as np

from agents.transformer import ModelConfig
from icl.arms import Arm
from icl.train import Numbers, Run, TrainConfig, initial


def test_an_update_lowers_the_loss_on_its_contexts(world):
    model = ModelConfig(width=16, layers=2, heads=2, kind="recurrent")
    shapes = TrainConfig(slots=3, levels=8, pool=2)
    program, state = initial(model, world.face, jax.random.key(0), shapes)
    numbers = Numbers(learning_rate=3e-3, warmup=1.0, updates=100.0)
    run = Run(Arm(), numbers, world.sticky[:1])

    @jax.jit
    def losses(state):
        """float[5]: before and after updates on the same contexts."""
        context = jax.tree.map(lambda x: x[0], program.contexts(jax.random.key(1), run))

        def one(state, _):
            state, metrics = program.update(state, run, context)
            return state, metrics.loss

        return jax.lax.scan(one, state, length=5)[1]

    found = np.asarray(losses(state))
    assert np.isfinite(found).all()
    assert (np.diff(found) < 0).all()
