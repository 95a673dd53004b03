"""The documents that operator and agent exchange, each with its writer and its reader. Pure, standard library only."""
