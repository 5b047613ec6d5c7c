"""Inner products of committed matrices with any functional that the verifier can evaluate."""
