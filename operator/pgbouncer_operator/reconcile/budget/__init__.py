"""How many server connections a pool may hold, and how they move between its pods. Pure."""
