"""One pool: observe, plan, apply."""
