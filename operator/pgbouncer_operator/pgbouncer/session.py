"""What every server connection is set to, so that PostgreSQL notices soon that nobody is at its other end.

An abandoned statement would run on after PgBouncer has dropped its connection and counts it no more; with
client_connection_check_interval the backend notices within a second. A node that is gone closes nothing: without
keepalives its sessions would stand for two hours, and what waits to be sent to it for a quarter of one.
"""

# By name, as SHOW gives them back. All of them any role may set; Unix sockets ignore those that begin with tcp_.
SETTINGS = {
    "client_connection_check_interval": "1s",  # PostgreSQL 14
    "tcp_keepalives_idle": "10",  # seconds
    "tcp_keepalives_interval": "5",  # seconds
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",  # ms, PostgreSQL 12. Linux: ends keepalives too. PgBouncer's own is 20 s
}

# Seconds for which PostgreSQL may count a session whose client has gone without a word: 15 of silence, or 25 where
# tcp_user_timeout does not end keepalives; what is sent just before that has as long again. The rest is margin.
OUTLIVES = 35

# What the server does not know, as PostgreSQL before 14 the first, or does not let a role set is no row, and is left.
CONNECT_QUERY = (
    "SELECT pg_catalog.set_config(name, value, false) FROM pg_catalog.pg_settings JOIN (VALUES "
    + ", ".join(f"('{name}', '{value}')" for name, value in SETTINGS.items())
    + ") AS wanted (name, value) USING (name) WHERE context = 'user'"
)
