"""The optimistic backend: a bonded claim stands unless somebody proves one element of one operator wrong.

``docs/dispute.md`` has the game, its four properties and their proofs.
"""
