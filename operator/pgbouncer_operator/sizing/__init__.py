"""Arithmetic on server connections: how many pods fit a budget, and which pod may hold how many. Pure."""
