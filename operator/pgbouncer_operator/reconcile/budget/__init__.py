"""How many connections a pool holds and how they move between its pods. Pure."""
