"""How a change reaches the pods: one pod first and then the others, or a roll. Pure."""
