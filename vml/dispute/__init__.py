"""The players of the dispute game: who asserts and defends, who watches and disputes. docs/dispute-players.md.

The rules and what an honest player does are in `vml.backends.optimistic`; here they meet a chain, a disk and a clock.
"""
