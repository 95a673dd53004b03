"""Sizing against traces: a model of PostgreSQL behind pools, what sizes them, and plots. `make simulate` runs it."""
