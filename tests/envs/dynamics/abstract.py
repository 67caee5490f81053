"""Families without a grid, from their documentation alone."""

import functools
import math
import operator
from typing import Any

from tests.envs.plain import Plain, State, certain, neighbour


def random_graph(level: Any) -> Plain:
    edges, goal = level.edges.tolist(), int(level.goal)

    def step(state: State, action: int):
        node = edges[state[0]][action]
        return (node,), node == goal, node == goal

    return Plain((int(level.start),), len(edges[0]), certain(step))


def combination_lock(level: Any) -> Plain:
    leads, goal = level.leads.tolist(), int(level.goal)

    def step(state: State, action: int):
        stage = leads[state[0]][action]
        return (stage,), stage == goal, stage == goal

    return Plain((0,), len(leads[0]), certain(step))


def random_mdp(level: Any) -> Plain:
    target, probability = level.target.tolist(), level.probability.tolist()
    goal = int(level.goal)

    def outcomes(state: State, action: int):
        nodes, chances = target[state[0]][action], probability[state[0]][action]
        return [
            (chance, (node,), float(node == goal), node == goal)
            for node, chance in zip(nodes, chances, strict=True)
        ]

    return Plain((int(level.start),), len(target[0]), outcomes)


def bandit(level: Any) -> Plain:
    payoff, pay = level.payoff.tolist(), 1 / 16  # the default horizon

    def outcomes(state: State, action: int):
        return [(payoff[action], state, pay, False), (1 - payoff[action], state, 0.0, False)]

    return Plain((0,), len(payoff), outcomes)


def lights_out(colours: int, level: Any) -> Plain:
    wires, start = level.wires.tolist(), level.start.tolist()
    worth = [colours**button for button in range(len(wires))]

    @functools.cache
    def dark(presses: int) -> bool:
        counts = [presses // one % colours for one in worth]
        turned = (
            first + sum(map(operator.mul, counts, turns))
            for first, *turns in zip(start, *wires, strict=True)
        )
        return not any(colour % colours for colour in turned)

    def step(state: State, action: int):
        count = state[0] // worth[action] % colours
        presses = state[0] + worth[action] * ((count + 1) % colours - count)
        return (presses,), dark(presses), dark(presses)

    return Plain((0,), len(wires), certain(step))


def commit(answers: int, level: Any) -> Plain:
    walls, clue, answer = level.walls.tolist(), int(level.clue), int(level.answer)
    size = math.isqrt(len(walls))

    def step(state: State, action: int):
        cell, seen = state
        if action >= 4:
            return state, seen == 1 and action - 4 == answer, True
        ahead = neighbour(cell, action, size)
        cell = cell if walls[ahead] else ahead
        return (cell, int(seen or cell == clue)), False, False

    return Plain((int(level.start), 0), 4 + answers, certain(step))


def gauntlet(dials: int, level: Any) -> Plain:
    decisive, right = level.decisive.tolist(), level.right.tolist()
    moments, spelling = len(right), len(right[0])

    def step(state: State, action: int):
        place, letter, sound, lost = state
        if action == dials:
            return state, False, False
        if decisive[place] and action != right[place][letter]:
            sound = 0
        if letter + 1 < spelling:
            return (place, letter + 1, sound, lost), False, False
        lost = int(lost or not sound)
        over = place + 1 == moments
        return (place if over else place + 1, 0, 1, lost), over and not lost, over

    return Plain((0, 0, 1, 0), dials + 1, certain(step))


def workshop(thoughts: int, memory: int, level: Any, flakiness: float = 0.0) -> Plain:
    needs, goal, secret = level.needs.tolist(), int(level.goal), int(level.secret)
    items = range(len(needs))

    def outcomes(state: State, action: int):
        made, known, load, spelled = state
        alike = [(1.0, state, 0.0, False)]
        if action < thoughts:
            return alike
        tool, item = action - thoughts, action - thoughts - 3
        if tool == 0:  # craft
            asked = {0: 2, 1: 2, 2: 2, 3: 2} if load < memory else {0: 1, 1: 2, 2: 2, 3: 1}
            return [(1.0, (made, known, load, asked[spelled]), 0.0, False)]
        if tool == 1:  # query
            return [(1.0, (made, known, load, 3), 0.0, False)]
        if tool == 2:  # fold
            return [(1.0, (made, known, 0, 0), 0.0, False)]
        if spelled < 2:
            return alike
        failed = (made, known, load, 0)
        if spelled == 3:
            done, won = (made, int(known or item == secret), load, 0), False
        else:
            lacks = any(needs[item][i] and not made >> i & 1 for i in items)
            if made >> item & 1 or lacks or (item == secret and not known):
                return [(1.0, failed, 0.0, False)]
            done, won = (made | 1 << item, known, min(load + 1, memory), 0), item == goal
        works = (1.0 - flakiness, done, float(won), won)
        return [works, (flakiness, failed, 0.0, False)] if flakiness else [works]

    return Plain((0, 0, 0, 0), thoughts + 3 + len(needs), outcomes)


FAMILIES = {
    "random-graph": random_graph,
    "combination-lock": combination_lock,
    "random-mdp": random_mdp,
    "bandit": bandit,
    "lights-out": functools.partial(lights_out, 3),
    "commit": functools.partial(commit, 4),
    "gauntlet": functools.partial(gauntlet, 3),
    "workshop": functools.partial(workshop, 2, 2),
}
