"""What a pool's user is told: conditions, figures, advice, events. Pure."""
