"""The benchmark: this project and its rivals in one run, taking turns.

``levelburst bench`` runs its parts; each is a file that yields races (``clock.Race``).
"""
