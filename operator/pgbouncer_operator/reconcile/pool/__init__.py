"""One pool, from what is observed to what is written: observe, plan, apply."""
