"""How a change reaches the pods: one pod first, then the others, or a roll. Pure."""
