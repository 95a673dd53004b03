"""Observe, decide, act: what one pool needs. `reconcile.py` is the table of contents."""
