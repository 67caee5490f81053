"""One family a file; importing this package registers them all."""

from envs.families import dark_room, key_door, lava_crossing, random_graph, teleporters

__all__ = ["dark_room", "key_door", "lava_crossing", "random_graph", "teleporters"]
