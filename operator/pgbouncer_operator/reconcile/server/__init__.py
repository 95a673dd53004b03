"""A PostgresServer: its limits, who may use it, and how its budget is divided between pools."""
