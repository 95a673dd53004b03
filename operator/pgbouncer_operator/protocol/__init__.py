"""Every document that operator and agent exchange: writer and reader side by side. Pure, standard library only."""
