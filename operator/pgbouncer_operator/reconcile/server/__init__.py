"""A PostgresServer: its limits, who may use it, and what each pool gets of its budget."""
