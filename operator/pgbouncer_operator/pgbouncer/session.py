"""Settings of every server connection with which PostgreSQL notices soon that the other end is gone. Pure.

PgBouncer stops counting a connection when it drops it, but PostgreSQL would finish an abandoned statement first. With
client_connection_check_interval the backend notices within a second. A node that disappears closes no connection:
without keepalives its sessions would last two hours, and 15 minutes if data waits to be sent.
https://www.postgresql.org/docs/current/runtime-config-connection.html
"""

# Name and value, as SHOW prints it. Every role may set them. Unix sockets ignore those that start with tcp_.
SETTINGS = {
    "client_connection_check_interval": "1s",  # PostgreSQL 14
    "tcp_keepalives_idle": "10",  # seconds
    "tcp_keepalives_interval": "5",  # seconds
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15000",  # ms, PostgreSQL 12; on Linux it ends keepalives too; PgBouncer's own is 20 s
}

# Seconds for which PostgreSQL may count a session whose client has disappeared: 15 without an answer, or 25 where
# tcp_user_timeout does not end keepalives; data sent just before that may wait as long again. The rest is margin.
OUTLIVES = 35

# A setting that the server does not have, or that a role may not set, has no row here and stays as it is. PostgreSQL
# before 14 does not have the first one.
CONNECT_QUERY = (
    "SELECT pg_catalog.set_config(name, value, false) FROM pg_catalog.pg_settings JOIN (VALUES "
    + ", ".join(f"('{name}', '{value}')" for name, value in SETTINGS.items())
    + ") AS wanted (name, value) USING (name) WHERE context = 'user'"
)
