"""Transparency logs: a Merkle tree that only grows, checkpoints that its owner signs (docs/transparency.md)."""
