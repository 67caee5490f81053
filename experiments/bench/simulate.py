"""Part ``simulate``: environment steps a second, random play, observations of like size.

In a compiled scan: every step splits keys, draws a random action for each of the N lanes, steps,
starts finished episodes anew and observes; the last lanes leave the scan. At the Gymnasium
boundary: every step is one call that takes NumPy actions and returns NumPy arrays.
"""

from __future__ import annotations

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import envs
from envs import lanes
from envs.core import Env
from envs.keys import new_key
from envs.vector import LevelburstVectorEnv
from envs.wrappers import wrap
from experiments.bench.clock import OURS, Race, Side, compiled, first_line, timed
from experiments.bench.peer import Peer, PeerError, Peers
from experiments.bench.sizes import Sizes
from experiments.bench.views import Coordinates, Slip, Square

VIEW = "key-door, 7×7×2 view"
ROOMS = "four-rooms, 7×7×2 view"
SMALL = "four-rooms, 4 integers"
BOUNDARY = "Gymnasium boundary, NumPy out"


def races(sizes: Sizes, peers: Peers) -> Iterator[Race]:
    """Every work at every N."""
    door = envs.make("key-door", size=8, view_size=7, horizon=640)
    rooms = envs.make("four-rooms", size=19, horizon=1083)
    square = wrap(Square, rooms, size=19)
    plain = envs.make("four-rooms", size=11, horizon=500)
    shown = wrap(Coordinates, plain, size=11)
    small = wrap(Slip, shown)
    buffer = f"a buffer of {sizes.levels} levels, an episode begins in a uniform one of them"
    works = (
        (
            VIEW,
            ((OURS, door, f"8 × 8 free cells, 7 × 7 × 2 symbols around the agent; {buffer}"),),
            (
                ("XLand-MiniGrid", "xland_steps", "MiniGrid-DoorKey-8x8",
                 "8 × 8 with the border, 7 × 7 × 2 ahead; a reset makes a level, at every step"),
                ("navix", "navix_steps", "Navix-DoorKey-8x8-v0",
                 "8 × 8 with the border, 7 × 7 × 3 ahead; a reset makes a level, at every step"),
            ),
        ),
        (
            ROOMS,
            ((OURS, square, f"19 × 19 free cells, 7 × 7 × 2 around the agent; {buffer}"),),
            (
                ("XLand-MiniGrid", "xland_steps", "MiniGrid-FourRooms",
                 "19 × 19 with the border, 7 × 7 × 2 ahead; a reset makes a level, at every step"),
                ("navix", "navix_steps", "Navix-FourRooms-v0",
                 "17 × 17, 7 × 7 × 3 ahead; a reset makes a level, at every step"),
            ),
        ),
        (
            SMALL,
            (
                (OURS, small, f"11 × 11 free cells, agent and goal, slips as gymnax; {buffer}"),
                (f"{OURS}, own", plain, f"the family as it is: 1 integer, no slips; {buffer}"),
            ),
            (
                ("gymnax", "gymnax_steps", "FourRooms-misc",
                 "11 × 11 within the border, agent and goal, slips; start and goal drawn anew at "
                 "every step"),
            ),
        ),
    )  # fmt: skip
    for work, own, rivals in works:
        for count in sizes.lanes:
            steps = max(sizes.steps // count, 4)
            with _Together(peers) as together:
                sides = [
                    _scan(who, env, count, steps, sizes.levels, what) for who, env, what in own
                ]
                for who, script, name, what in rivals:
                    what = f"{name}: {what}"
                    sides.append(together.side(who, script, name, count, steps, what))
                yield Race(work, f"N = {count:,}", count, "steps", tuple(sides))
    for count in sizes.lanes:
        steps = max(sizes.calls // count, 4)
        with _Together(peers) as together:
            yield Race(
                BOUNDARY,
                f"N = {count:,}",
                count,
                "steps",
                (
                    _calls(shown, count, steps, sizes.levels),
                    together.side("Gymnasium, vectorised", "cartpole_steps", "vector_entry_point",
                                  count, steps, "CartPole-v1 written over all environments"),
                    together.side("Gymnasium, SyncVectorEnv", "cartpole_steps", "sync",
                                  count, steps, "CartPole-v1, one after the other"),
                ),
            )  # fmt: skip


State = tuple[lanes.Lanes, jax.Array]  # the lanes and the key of their next steps


class _Together:
    """Rivals that are open for one race."""

    def __init__(self, peers: Peers):
        self.peers, self.open = peers, list[Peer]()

    def __enter__(self) -> _Together:
        return self

    def __exit__(self, *_: object) -> None:
        for peer in self.open:
            peer.close()

    def side(self, who: str, script: str, name: str, count: int, steps: int, what: str) -> Side:
        """A rival made ready; one that is not there, or breaks down, becomes a reason."""
        try:
            peer = self.peers.open(script)
            self.open.append(peer)
            made = peer.ask("setup", name=name, lanes=count, steps=steps)
            note = peer.ask("version")
        except PeerError as error:
            return Side(who, what, count * steps, None, reason=first_line(error))
        return Side(who, what, count * steps, peer.run, made.get("compile"), note=note)


def _scan(who: str, env: Env, count: int, steps: int, levels: int, what: str) -> Side:
    """Our lanes in one compiled scan."""
    drawn = jax.jit(jax.vmap(env.level))(jax.random.split(new_key(0), levels))
    pool = jax.jit(lanes.buffer)(env, new_key(1), drawn)
    index = jnp.arange(count, dtype=jnp.int32) % levels
    box = [(jax.jit(lanes.start)(env, pool, index), new_key(2))]

    def play(pool: lanes.Buffer, state: State) -> State:
        def one(rows: lanes.Lanes, key: jax.Array) -> tuple[lanes.Lanes, None]:
            act_key, step_key = jax.random.split(key)
            action = jax.random.randint(act_key, (count,), 0, env.num_actions)
            return lanes.step(env, pool, step_key, rows, action), None

        rows, key = state
        key, next_key = jax.random.split(key)
        return jax.lax.scan(one, rows, jax.random.split(key, steps))[0], next_key

    program, seconds = compiled(play, pool, box[0])

    def go() -> State:
        box[0] = program(pool, box[0])
        return box[0]

    return Side(who, what, count * steps, timed(go), seconds)


def _calls(env: Env, count: int, steps: int, levels: int) -> Side:
    """Our Gymnasium VectorEnv, one call a step."""
    drawn = jax.jit(jax.vmap(env.level))(jax.random.split(new_key(0), levels))
    vector = LevelburstVectorEnv(env, num_envs=count, levels=drawn)
    vector.reset(seed=0)
    dice = np.random.default_rng(0)

    def go() -> None:
        for _ in range(steps):
            vector.step(dice.integers(0, env.num_actions, count))

    what = f"four-rooms, 11 × 11, agent and goal (4 integers); a buffer of {levels} levels"
    return Side(OURS, what, count * steps, timed(go))
