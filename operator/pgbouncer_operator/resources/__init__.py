"""The Kubernetes objects of a pool: one pure function for each, in a file of its own. `desired.py` lists them."""
