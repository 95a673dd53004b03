"""Programs that run in the `clients` image: load with an account of every transaction."""
