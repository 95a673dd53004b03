"""What the user of a pool reads: conditions, figures, advice, events. Pure."""
