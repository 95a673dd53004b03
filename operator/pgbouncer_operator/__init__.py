"""pgbouncer-operator: PgBouncer pools on Kubernetes that keep a connection budget."""

__version__ = "0.1.0"
