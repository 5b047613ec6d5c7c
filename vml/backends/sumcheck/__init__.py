"""The native sumcheck backend."""
