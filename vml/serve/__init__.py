"""The inference server: answers with claims at once, and proofs when they are ready (docs/serve.md)."""
