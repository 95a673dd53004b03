"""Programs that run in the `clients` image: load with an account of every transaction, and cancels that are counted."""
