"""workshop: an item is made by calls of tools, each spelled by a tool and its argument."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from envs import tiles
from envs.core import Env, Outcome, hashed, mix, static
from envs.registry import register

IDLE, RECALL, CRAFT, QUERY = range(4)  # what a call has come to: State.open
THOUGHT, TOOL, CALL, FOLD = range(4)  # what a token is: Workshop.token
OPENS = 4  # kinds of State.open


class Level(struct.PyTreeNode):
    """Attributes:
    needs: bool[N, N], the first item is made of the second.
    goal: int32[], the item that is wanted.
    secret: int32[] in [0, N], the item whose recipe has to be looked up; N: none.
    """

    needs: jax.Array
    goal: jax.Array
    secret: jax.Array


class State(struct.PyTreeNode):
    """Attributes:
    made: int32[], bit i is set once item i has been made.
    known: int32[], 1 once the secret recipe has been looked up, else 0.
    load: int32[] in [0, M], what the memory holds.
    open: int32[], the call that is being spelled: none, one that is still looked for in a full
        memory, craft or query.
    """

    made: jax.Array
    known: jax.Array
    load: jax.Array
    open: jax.Array


class Workshop(Env):
    """A workshop in which one item is wanted, and what it is made of has to be made first, by calls
    of tools that are spelled token by token: what agents with tools do, with the truth about every
    call known.

    Observation: int32[N + 4]: for each of the N items 1 if it has been made, else 0, and 2 more if
    it is an ingredient of the secret recipe and that has been looked up; 4 + the wanted item;
    4 + N + the load of the memory (0 to M); 5 + N + M + what is being spelled (0 nothing, 1 a craft
    that is looked for in a full memory, 2 craft, 3 query); and 9 + N + M + (0, or 1 + the secret
    item once it has been looked up).
    Actions: ``thoughts`` tokens that change nothing; ``craft`` and ``query``, which open a call in
    place of one that is open; ``fold``, which empties the memory and drops an open call; then the N
    items, which end the open call. An item without an open call changes nothing. With a full memory
    ``craft`` has to be said twice before it is open.
    craft(item) makes the item if it has not been made, all of its ingredients have, and its recipe
    is known, which it is but for one; it adds 1 to the load, which ends at M. query(item) looks the
    item's recipe up: harmless, and of use for the secret one only. A call that would change
    something fails silently with probability ``flakiness``: it is over, and nothing has changed.
    Reward: 1 when the wanted item is made, which terminates the episode; 0 elsewhere.
    Levels: in a random order of the items the first needs nothing and every other needs one of
    those before it, uniform, and with probability ``pairs`` another one, if there is. The last of
    the order is wanted. With probability ``secrecy`` one recipe of those that lead to it, its own
    included, is secret, uniform.

    Attributes:
        items: N, 3 to 8.
        thoughts: the number of scratch tokens, 1 or more.
        memory: M, the crafts that fill it, 1 to 9.
        pairs: probability of a second ingredient, in [0, 1].
        secrecy: probability that a recipe has to be looked up, in [0, 1].
        flakiness: probability that a call fails silently, in [0, 1).
    """

    items: int = static(7)
    thoughts: int = static(2)
    memory: int = static(2)
    pairs: float = 0.5
    secrecy: float = 0.5
    flakiness: float = 0.0

    def check(self) -> None:
        for name, count, least, most in (
            ("items", self.items, 3, len(tiles.PADS)),
            ("memory", self.memory, 1, 9),
        ):
            if not least <= count <= most:
                raise ValueError(f"workshop {name} {count}: use {least} to {most}")
        if self.thoughts < 1:
            raise ValueError(f"workshop thoughts {self.thoughts}: use 1 or more")

    @property
    def num_actions(self) -> int:
        return self.thoughts + 3 + self.items

    @property
    def num_fields(self) -> int:
        return self.items + 4

    @property
    def num_symbols(self) -> int:
        return 4 + self.items + (self.memory + 1) + OPENS + (self.items + 1)

    @property
    def num_states(self) -> int:
        return 2 ** (self.items - 1) * 2 * (self.memory + 1) * OPENS

    def level(self, key: jax.Array) -> Level:
        order_key, one_key, two_key, pair_key, hide_key, which_key = jax.random.split(key, 6)
        count = self.items
        order = jax.random.permutation(order_key, count)
        place = jnp.arange(count, dtype=jnp.int32)
        chance = [jax.random.uniform(key, (count,)) for key in (one_key, two_key)]
        first = jnp.floor(chance[0] * place.astype(jnp.float32)).astype(jnp.int32)
        # Another one: 1 to place - 1 further on, round among those before.
        step = 1 + jnp.floor(chance[1] * (place - 1).astype(jnp.float32)).astype(jnp.int32)
        second = (first + step) % jnp.maximum(place, 1)
        pair = jax.random.bernoulli(pair_key, self.pairs, (count,)) & (place >= 2)
        before = jax.nn.one_hot(first, count, dtype=bool) & (place >= 1)[:, None]
        before |= jax.nn.one_hot(second, count, dtype=bool) & pair[:, None]
        needs = jnp.zeros((count, count), bool).at[order[:, None], order].set(before)
        goal = order[-1].astype(jnp.int32)
        needed = self.needed(needs, goal)
        hidden = jax.random.bernoulli(hide_key, self.secrecy)
        which = jax.random.categorical(which_key, jnp.where(needed, 0.0, -jnp.inf))
        return Level(needs, goal, jnp.where(hidden, which, count).astype(jnp.int32))

    def needed(self, needs: jax.Array, goal: jax.Array) -> jax.Array:
        """bool[N]: the items that lead to the wanted one, itself included."""
        found = jnp.arange(self.items) == goal
        for _ in range(self.items - 1):
            found |= (needs & found[:, None]).any(0)
        return found

    def reset(self, key: jax.Array, level: Level) -> State:
        return State(*(jnp.int32(0),) * 4)

    def step(self, key: jax.Array, level: Level, state: State, action: jax.Array) -> Outcome:
        return self._after(level, state, action, ~jax.random.bernoulli(key, self.flakiness))

    def outcomes(self, level: Level, state: State, action: jax.Array) -> tuple[jax.Array, Outcome]:
        """A call that works, first, and one that fails."""
        fails = jnp.float32(self.flakiness)
        after = jax.vmap(lambda works: self._after(level, state, action, works))
        return jnp.stack([1 - fails, fails]), after(jnp.array([True, False]))

    def token(self, action: jax.Array) -> jax.Array:
        """int32[]: what an action is: a thought, a tool that opens a call, the item that ends one,
        or fold."""
        tool = action - self.thoughts
        kinds = (jnp.where(tool == 2, FOLD, TOOL), CALL)
        return jnp.where(tool < 0, THOUGHT, jnp.where(tool < 3, *kinds)).astype(jnp.int32)

    def fits(self, level: Level, state: State, action: jax.Array) -> jax.Array:
        """bool[]: the action ends a call that can be carried out: a query, or a craft of an item
        that has not been made yet, whose ingredients have, and whose recipe is known."""
        item = action - self.thoughts - 3
        own = jnp.maximum(item, 0)
        made = self._bits(state.made)
        crafts = ~made[own] & (made | ~level.needs[own]).all()
        crafts &= (item != level.secret) | (state.known == 1)
        return (item >= 0) & ((state.open == QUERY) | ((state.open == CRAFT) & crafts))

    def _after(self, level: Level, state: State, action: jax.Array, works: jax.Array) -> Outcome:
        kind, item = self.token(action), action - self.thoughts - 3
        done = self.fits(level, state, action) & works
        crafts, asks = done & (state.open == CRAFT), done & (state.open == QUERY)
        made = jnp.where(crafts, state.made | (1 << jnp.maximum(item, 0)), state.made)
        known = jnp.where(asks & (item == level.secret), 1, state.known)
        load = jnp.minimum(state.load + crafts.astype(jnp.int32), self.memory)
        load = jnp.where(kind == FOLD, 0, load)
        looked_for = (state.load == self.memory) & (state.open != CRAFT) & (state.open != RECALL)
        craft = jnp.where(looked_for, RECALL, CRAFT)
        opened = jnp.where(action == self.thoughts, craft, QUERY)
        over = (kind == FOLD) | ((kind == CALL) & (state.open != RECALL))
        after = jnp.where(kind == TOOL, opened, jnp.where(over, IDLE, state.open))
        won = crafts & (item == level.goal)
        state = State(*(x.astype(jnp.int32) for x in (made, known, load, after)))
        return Outcome(state, won.astype(jnp.float32), won)

    def observe(self, level: Level, state: State) -> jax.Array:
        told = jnp.where((state.known == 1) & (level.secret < self.items), 1 + level.secret, 0)
        rest = jnp.stack([level.goal, state.load, state.open, told])
        first = np.cumsum([4, self.items, self.memory + 1, OPENS], dtype=np.int32)
        items = self._bits(state.made).astype(jnp.int32)
        items += 2 * self._shown(level, state).astype(jnp.int32)
        return jnp.concatenate([items, rest + first])

    def encode(self, level: Level, state: State) -> jax.Array:
        """The wanted item is made in no state but the final one, so its bit is left out."""
        low = state.made & ((1 << level.goal) - 1)
        others = low | (state.made >> (level.goal + 1) << level.goal)
        return ((others * 2 + state.known) * (self.memory + 1) + state.load) * OPENS + state.open

    def decode(self, level: Level, index: jax.Array) -> State:
        rest, opened = index // OPENS, index % OPENS
        rest, load = rest // (self.memory + 1), rest % (self.memory + 1)
        others, known = rest // 2, rest % 2
        low = others & ((1 << level.goal) - 1)
        return State(low | (others >> level.goal << (level.goal + 1)), known, load, opened)

    def begins(self, level: Level, state: State) -> jax.Array:
        return state.open == IDLE

    def milestone(self, level: Level, state: State) -> jax.Array:
        """The needed items that have been made."""
        needed = self.needed(level.needs, level.goal)
        return (self._bits(state.made) & needed).sum().astype(jnp.int32)

    def fingerprint(self, level: Level) -> jax.Array:
        """What items are called is left out: hashes of all items in order, each refined as often as
        there are items by those of its ingredients and of what it is an ingredient of (Weisfeiler
        and Leman 1968). What they cannot tell apart shares a fingerprint, and so a split."""
        place = jnp.arange(self.items)
        role = jnp.where(place == level.goal, 1, 0) + jnp.where(place == level.secret, 2, 0)
        colour = mix(role.astype(jnp.uint32) + jnp.uint32(1))
        for _ in range(self.items):

            def gathered(links: jax.Array, odd: int, colour: jax.Array = colour) -> jax.Array:
                words = mix(colour * jnp.uint32(odd) + jnp.uint32(1))
                return jnp.where(links, words, jnp.uint32(0)).sum(1, dtype=jnp.uint32)

            into, out = gathered(level.needs, 0x9E3779B1), gathered(level.needs.T, 0x7FEB352D)
            colour = mix(colour + mix(into) + mix(out ^ jnp.uint32(0x5BD1E995)))
        return hashed(jnp.sort(colour))

    def draw(self, level: Level, state: State) -> jax.Array:
        """A row an item: a light that is on once it has been made, the goal, a key beside the
        secret recipe, the letters of what it needs. Below, the agent goes right as it spells, and
        last comes the load of the memory."""
        return self._paint(level, state, jnp.ones(self.items, bool), jnp.int32(1))

    def view(self, level: Level, state: State) -> jax.Array:
        """The same without the recipes; the secret one is shown once it has been looked up."""
        rows = (jnp.arange(self.items) == level.secret) & (state.known == 1)
        return self._paint(level, state, rows, state.known)

    def _paint(self, level: Level, state: State, rows: jax.Array, key: jax.Array) -> jax.Array:
        place = jnp.arange(self.items)
        lit = jnp.where(self._bits(state.made), tiles.LIT, tiles.UNLIT)
        goal = jnp.where(place == level.goal, tiles.GOAL, tiles.FLOOR)
        secret = jnp.where((place == level.secret) & (key == 1), tiles.KEY, tiles.FLOOR)
        letters = jnp.asarray(tiles.PADS, jnp.int32)[: self.items]
        recipe = jnp.where(level.needs & rows[:, None], letters, tiles.FLOOR)
        items = jnp.concatenate([jnp.stack([lit, goal, secret], axis=1), recipe], axis=1)
        bottom = jnp.full((2, self.items + 3), tiles.FLOOR)
        bottom = bottom.at[0, state.open].set(tiles.AGENT)
        bottom = bottom.at[1, 0].set(jnp.asarray(tiles.DIGITS)[state.load])
        return jnp.concatenate([items, bottom]).astype(jnp.int32)

    def from_tiles(self, picture: np.ndarray) -> Level:
        size = self.items + 2, self.items + 3
        if picture.shape != size:
            raise ValueError(
                f"the level is {' x '.join(map(str, picture.shape))} tiles, this environment's are "
                f"{size[0]} x {size[1]}; make it with other items"
            )
        goals = np.flatnonzero(picture[:-2, 1] == tiles.GOAL)
        secrets = np.flatnonzero(picture[:-2, 2] == tiles.KEY)
        if len(goals) != 1 or len(secrets) > 1:
            raise ValueError(
                f"the level shows {len(goals)} goals and {len(secrets)} keys; it needs one 'G' in "
                "its second column, and at most one 'k' in its third"
            )
        needs = picture[:-2, 3:] == np.asarray(tiles.PADS[: self.items])
        secret = secrets[0] if len(secrets) else self.items
        return Level(jnp.asarray(needs), jnp.int32(goals[0]), jnp.int32(secret))

    def _bits(self, made: jax.Array) -> jax.Array:
        """bool[N]."""
        return (made >> jnp.arange(self.items)) & 1 == 1

    def _shown(self, level: Level, state: State) -> jax.Array:
        """bool[N]: the ingredients of the secret recipe, once it has been looked up."""
        own = level.needs[jnp.minimum(level.secret, self.items - 1)]
        return own & (state.known == 1) & (level.secret < self.items)


register("workshop", Workshop)
