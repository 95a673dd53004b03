"""`kubectl pgbouncer`: what a person sees of pools and does with them, with no other rights than the person's own.

All requests go through the person's own kubectl.
"""
