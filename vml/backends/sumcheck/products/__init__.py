"""Weighted inner products of committed vectors, proved together, down to one value of each factor."""
