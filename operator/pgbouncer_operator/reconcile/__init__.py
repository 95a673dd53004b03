"""From what is in the cluster to what is written there: `pool` for a ConnectionPool, `server` for a PostgresServer."""
