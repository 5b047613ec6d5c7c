"""What every backend about the exact integer model shares: how values, specs and claims hang together."""
