"""The objects a pool consists of: one pure function a file. `desired.py` lists them."""
