"""The rows of the catalogue that a pool can set, in a field of the spec or in spec.parameters.

Source: https://www.pgbouncer.org/config.html and SHOW CONFIG of 1.26.1. The process tests compare each row with the
real program.
"""

from pgbouncer_operator.pgbouncer.parameter import Audience, ChangeClass, Parameter, Type

DAY = 86400
YEAR = 365 * DAY
_FIELD = Audience.FIELD
_RECONNECT = ChangeClass.RELOAD_RECONNECT
_ROLL = ChangeClass.ROLL
_INT, _TIME, _BOOL, _STR, _CSV, _ENUM = Type.INT, Type.TIME, Type.BOOL, Type.STR, Type.CSV, Type.ENUM

# fmt: off
FIELDS = (
    # With a reconnect, because a server connection that leaves session mode still has the settings of its last session.
    Parameter("pool_mode", _ENUM, "session", "When a server connection goes back to the pool.",
              choices=("session", "transaction", "statement"), change=_RECONNECT, audience=_FIELD,
              field="poolMode", ours="transaction"),
    Parameter("max_client_conn", _INT, "100", "Clients that one pod accepts.",
              minimum=1, maximum=100_000, audience=_FIELD, field="clients.maxPerPod", ours="2000"),
    Parameter("query_wait_timeout", _TIME, "120", "A query that waits longer for a server connection fails; 0: never.",
              maximum=DAY, since="1.3.2", audience=_FIELD, field="timeouts.queryWaitSeconds", ours="30"),
    Parameter("server_idle_timeout", _TIME, "600", "A server connection idle for longer is closed; 0: never.",
              maximum=YEAR, audience=_FIELD, field="timeouts.serverIdleSeconds"),
    Parameter("server_lifetime", _TIME, "3600", "An older server connection is closed when free; 0: after one use.",
              maximum=YEAR, audience=_FIELD, field="timeouts.serverLifetimeSeconds"),
    Parameter("client_idle_timeout", _TIME, "0", "A client idle for longer is disconnected; 0: never.",
              maximum=YEAR, audience=_FIELD, field="timeouts.clientIdleSeconds"),
    Parameter("idle_transaction_timeout", _TIME, "0", "A client idle for longer in a transaction is cut; 0: never.",
              maximum=YEAR, since="1.5", audience=_FIELD, field="timeouts.idleTransactionSeconds"),
    Parameter("query_timeout", _TIME, "0", "A query that runs longer is cut with its connection; 0: never.",
              maximum=YEAR, audience=_FIELD, field="timeouts.querySeconds"),
    Parameter("server_connect_timeout", _TIME, "15", "Opening a server connection may take this long.",
              minimum=1, maximum=DAY, audience=_FIELD, field="timeouts.serverConnectSeconds"),
)

PARAMETERS = (
    # Clients
    # A client of a new pod waits within this time for the pod's first server connection, which may take
    # server_connect_timeout. With less than PgBouncer's default such clients would get an error instead of waiting.
    Parameter("client_login_timeout", _TIME, "60", "A client must have logged in within this time.",
              minimum=1, maximum=3600, ours="60"),
    Parameter("max_db_client_connections", _INT, "0", "Clients of one database in one pod; 0: no own limit.",
              maximum=100_000, since="1.24"),
    Parameter("max_user_client_connections", _INT, "0", "Clients of one user in one pod; 0: no own limit.",
              maximum=100_000, since="1.24"),
    # JDBC sends extra_float_digits at each login. PgBouncer refuses a parameter that it neither tracks nor ignores.
    Parameter("ignore_startup_parameters", _CSV, "", "Startup parameters of clients to ignore, not refuse.",
              since="1.2", ours="extra_float_digits"),
    Parameter("track_extra_parameters", _CSV, "", "More session settings to keep per client.",
              since="1.20", change=_ROLL),
    Parameter("application_name_add_host", _BOOL, "0", "Add the client's address to application_name.", since="1.6"),
    Parameter("max_prepared_statements", _INT, "200", "Prepared statements kept per server connection; 0: none.",
              maximum=100_000, since="1.21"),
    Parameter("disable_pqexec", _BOOL, "0", "Refuse several statements in one query.", since="1.4", change=_ROLL),
    Parameter("login_notify_message", _STR, "", "A notice to every client that logs in.", since="1.26"),
    Parameter("query_wait_notify", _INT, "5", "A client that waits longer gets a notice; 0: never.",
              maximum=DAY, since="1.25"),
    Parameter("transaction_timeout", _TIME, "0", "A transaction that takes longer is cut; 0: never.",
              maximum=YEAR, since="1.25"),
    Parameter("cancel_wait_timeout", _TIME, "10", "A cancel request may wait this long for a connection.",
              maximum=3600, since="1.19"),
    Parameter("scram_iterations", _INT, "4096", "SCRAM iterations; more cost processor time at every first login.",
              minimum=1024, maximum=100_000, since="1.25"),
    # Server connections
    Parameter("server_login_retry", _TIME, "15", "Wait this long after a failed server login.",
              minimum=1, maximum=3600, ours="1"),
    Parameter("server_round_robin", _BOOL, "0", "Use server connections in turn.", since="1.1"),
    Parameter("server_reset_query", _STR, "DISCARD ALL", "Run when a client leaves its session; session mode only.",
              since="1.1"),
    Parameter("server_reset_query_always", _BOOL, "0", "Run server_reset_query after every transaction.", since="1.7"),
    Parameter("server_check_query", _STR, "<empty>", "Run before an idle server connection is used again."),
    Parameter("server_check_delay", _TIME, "30", "A connection used within this time is not checked.", maximum=DAY),
    Parameter("server_fast_close", _BOOL, "0", "Session mode: cut idle sessions when a connection must be renewed.",
              since="1.9"),
    Parameter("pool_idle_timeout", _TIME, "0", "Forget an empty pool after this time; 0: never.",
              maximum=YEAR, since="1.26"),
    Parameter("server_tls_protocols", _CSV, "secure", "TLS versions towards PostgreSQL.",
              choices=("secure", "tlsv1.2", "tlsv1.3"), since="1.7"),
    Parameter("server_tls_ciphers", _STR, "default", "TLS 1.2 ciphers towards PostgreSQL, as OpenSSL names them.",
              since="1.7"),
    # Network
    # Short, so that PgBouncer finds a server at its new address before clients time out. It ignores the record's TTL.
    Parameter("dns_max_ttl", _TIME, "15", "A server's address is looked up again after this time.",
              maximum=3600, since="1.4", ours="3"),
    Parameter("dns_nxdomain_ttl", _TIME, "15", "A name that was not found is looked up again after this time.",
              maximum=3600, since="1.6", ours="1"),
    Parameter("dns_zone_check_period", _TIME, "0", "How often zone serials are checked; 0: never.",
              maximum=DAY, since="1.5"),
    # After a roll many clients connect at the same time.
    Parameter("listen_backlog", _INT, "128", "Connections waiting to be accepted.",
              minimum=1, maximum=65535, since="1.3.3", change=_ROLL, ours="4096"),
    Parameter("tcp_defer_accept", _INT, "1", "Seconds the kernel holds a connection until data comes.", maximum=3600),
    Parameter("tcp_keepalive", _BOOL, "1", "Probe idle connections.", change=_RECONNECT, ours="1"),
    Parameter("tcp_keepcnt", _INT, "0", "Lost probes until a connection is dead; 0: the system's.",
              maximum=127, change=_RECONNECT, ours="3"),
    Parameter("tcp_keepidle", _INT, "0", "Idle seconds before the first probe; 0: the system's.",
              maximum=32767, change=_RECONNECT, ours="a third of query_wait_timeout"),
    Parameter("tcp_keepintvl", _INT, "0", "Seconds between probes; 0: the system's.",
              maximum=32767, change=_RECONNECT, ours="a sixth of query_wait_timeout"),
    Parameter("tcp_user_timeout", _INT, "0", "Milliseconds that sent data may stay unacknowledged; 0: the system's.",
              maximum=3_600_000, since="1.13", change=_RECONNECT, ours="two thirds of query_wait_timeout"),
    Parameter("tcp_socket_buffer", _INT, "0", "Bytes of kernel buffer per connection; 0: the system's.",
              maximum=2**30, change=_RECONNECT),
    Parameter("pkt_buf", _INT, "4096", "Bytes of buffer per active connection.",
              minimum=2048, maximum=65536, change=_ROLL),
    Parameter("max_packet_size", _INT, "2147483647", "The largest packet, in bytes, that is let through.",
              minimum=65536, since="1.5.3"),
    Parameter("sbuf_loopcnt", _INT, "5", "Packets of one connection handled before the next one's turn; 0: all.",
              maximum=1000, since="1.3"),
    # Log. Each probe would log two lines. Failed logins are pooler errors, which are logged.
    Parameter("log_connections", _BOOL, "1", "Log logins that succeed.", ours="0"),
    Parameter("log_disconnections", _BOOL, "1", "Log disconnections with the reason.", ours="0"),
    Parameter("log_pooler_errors", _BOOL, "1", "Log errors that PgBouncer sends to clients.", ours="1"),
    Parameter("log_stats", _BOOL, "1", "Log figures every stats_period. The pod exports them as metrics.",
              since="1.11", ours="0"),
)
# fmt: on
