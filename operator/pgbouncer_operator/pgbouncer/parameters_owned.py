"""The rows of the catalogue that no pool can set: those that the operator sets, and those that are not supported.

Source: https://www.pgbouncer.org/config.html and SHOW CONFIG of 1.26.1. The process tests compare each row with the
real program.
"""

from pgbouncer_operator.pgbouncer.parameter import Audience, ChangeClass, Parameter, Type

_OWN = Audience.OPERATOR
_NO = Audience.UNSUPPORTED
_RECONNECT = ChangeClass.RELOAD_RECONNECT
_ROLL = ChangeClass.ROLL
_INT, _TIME, _BOOL, _STR, _CSV, _ENUM = Type.INT, Type.TIME, Type.BOOL, Type.STR, Type.CSV, Type.ENUM
_TLS = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_AUTH = ("any", "trust", "plain", "md5", "scram-sha-256", "cert", "hba", "ldap", "pam")
_AUTH_QUERY = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END"
    " FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)

# fmt: off
OWNED = (
    # Limits, which follow from a pod's grant
    Parameter("default_pool_size", _INT, "20", "Server connections per database and user: the pod's grant.",
              minimum=1, audience=_OWN, change=_RECONNECT, field="serverConnections.max"),
    Parameter("max_db_connections", _INT, "0", "Server connections per database: its share of the pod's grant.",
              minimum=1, since="1.6", audience=_OWN, change=_RECONNECT, field="serverConnections.max"),
    Parameter("max_user_connections", _INT, "0", "Server connections per user.",
              since="1.6", audience=_OWN, change=_RECONNECT, field="users[].serverConnections.max"),
    Parameter("min_pool_size", _INT, "0", "Server connections kept open without use: none.",
              since="1.5", audience=_OWN, field="serverConnections.sizing"),
    Parameter("reserve_pool_size", _INT, "0", "Connections beyond the pool's size: none. The grant is the limit.",
              since="1.3", audience=_OWN, field="serverConnections.max"),
    Parameter("reserve_pool_timeout", _TIME, "5", "Wait before the reserve is used; there is no reserve.",
              since="1.3", audience=_OWN, field="serverConnections.max"),
    # TLS towards PostgreSQL
    Parameter("server_tls_sslmode", _ENUM, "prefer", "TLS towards PostgreSQL.",
              choices=_TLS, since="1.7", change=_RECONNECT, audience=_OWN, field="backend.tls.mode"),
    Parameter("server_tls_ca_file", _STR, "", "The CA that PostgreSQL's certificate is checked against.",
              since="1.7", change=_RECONNECT, audience=_OWN, field="backend.tls.ca"),
    # TLS towards clients
    Parameter("client_tls_sslmode", _ENUM, "disable", "TLS towards clients.",
              choices=_TLS, since="1.7", audience=_OWN, field="clients.tls.mode"),
    Parameter("client_tls_cert_file", _STR, "", "The certificate for clients.",
              since="1.7", audience=_OWN, field="clients.tls.secretName"),
    Parameter("client_tls_key_file", _STR, "", "The key of that certificate.",
              since="1.7", audience=_OWN, field="clients.tls.secretName"),
    # Logins
    Parameter("auth_type", _ENUM, "md5", "How clients log in: by the hba file.", choices=_AUTH, audience=_OWN),
    Parameter("auth_file", _STR, None, "Logins and passwords, from the users' Secrets.", audience=_OWN, field="users"),
    Parameter("auth_hba_file", _STR, "", "Who may log in from where.", since="1.7", audience=_OWN),
    Parameter("auth_user", _STR, None, "Looks up users in the database.", since="1.6", audience=_OWN,
              field="authQuery.secretRef"),
    Parameter("auth_query", _STR, _AUTH_QUERY, "How users are looked up.", since="1.6", audience=_OWN,
              field="authQuery.function"),
    Parameter("auth_dbname", _STR, None, "Where users are looked up.", since="1.19", audience=_OWN,
              field="authQuery.database"),
    Parameter("admin_users", _CSV, "", "Nobody. The agent uses the console through the Unix socket.", audience=_OWN),
    Parameter("stats_users", _CSV, "", "The user of the probes.", audience=_OWN),
    # Place
    Parameter("listen_addr", _STR, "", "Every address of the pod.", change=_ROLL, audience=_OWN),
    Parameter("listen_port", _INT, "6432", "The port inside the pod.",
              minimum=1, maximum=65535, change=_ROLL, audience=_OWN, field="service.port"),
    Parameter("unix_socket_dir", _STR, "/tmp", "Where the console's socket is.",  # noqa: S108
              change=_ROLL, audience=_OWN),
    Parameter("unix_socket_mode", _STR, "0777", "Who may use the socket: PgBouncer's own uid.",
              since="1.5.1", change=_ROLL, audience=_OWN),
    Parameter("unix_socket_group", _STR, "", "The socket's group.", since="1.5.1", change=_ROLL, audience=_OWN),
    Parameter("peer_id", _INT, "0", "This pod's number among the pool's pods.",
              # PgBouncer reloads it, but the cancel keys that clients hold contain the old number.
              maximum=16383, since="1.19", change=_ROLL, audience=_OWN),
    Parameter("conffile", _STR, None, "The configuration's own path.", audience=_OWN),
    Parameter("job_name", _STR, "pgbouncer", "The process's name in the log.", change=_ROLL, audience=_OWN),
    Parameter("logfile", _STR, "", "None: the log goes to standard error.", audience=_OWN),
    Parameter("pidfile", _STR, "", "None: a stale one would block a restart.", change=_ROLL, audience=_OWN),
    Parameter("user", _STR, None, "None: the container does not run as root.",
              since="1.2", change=_ROLL, audience=_OWN),
    Parameter("resolv_conf", _STR, "", "The file of the pod.", since="1.12", change=_ROLL, audience=_OWN),
    Parameter("syslog", _BOOL, "0", "Off: the log goes to standard error.", audience=_OWN),
    Parameter("syslog_facility", _STR, "daemon", "No effect, because syslog is off.", audience=_OWN),
    Parameter("syslog_ident", _STR, "pgbouncer", "Identifies the configuration that is loaded.", audience=_OWN),
    Parameter("stats_period", _INT, "60", "The window of averages. The agent reads totals instead.", audience=_OWN),
)

UNSUPPORTED = (
    Parameter("suspend_timeout", _TIME, "10", "Part of online restart.", since="1.2", removed="1.26.0", audience=_NO),
    Parameter("so_reuseport", _BOOL, "0", "Several processes on one port.", since="1.12", change=_ROLL, audience=_NO),
    Parameter("autodb_idle_timeout", _TIME, "3600", "For databases that are not listed.", since="1.3", audience=_NO),
    # Once set, a reload cannot unset these: their default is NULL.
    Parameter("verbose", _INT, None, "More log; its output may hold what clients send.", audience=_NO),
    Parameter("server_tls13_ciphers", _STR, None, "TLS 1.3 ciphers towards PostgreSQL.", since="1.25", audience=_NO),
    Parameter("auth_ident_file", _STR, None, "Maps system users to roles.", since="1.23", audience=_NO),
    Parameter("auth_ldap_options", _STR, None, "LDAP logins.", since="1.25", audience=_NO),
    Parameter("server_tls_cert_file", _STR, "", "A client certificate towards PostgreSQL.", since="1.7", audience=_NO),
    Parameter("server_tls_key_file", _STR, "", "The key of that certificate.", since="1.7", audience=_NO),
    Parameter("client_tls_ca_file", _STR, "", "The CA of clients' certificates.", since="1.7", audience=_NO),
    Parameter("client_tls_protocols", _CSV, "secure", "TLS versions towards clients.", since="1.7", audience=_NO),
    Parameter("client_tls_ciphers", _STR, "default", "TLS 1.2 ciphers towards clients.", since="1.7", audience=_NO),
    Parameter("client_tls13_ciphers", _STR, None, "TLS 1.3 ciphers towards clients.", since="1.25", audience=_NO),
    Parameter("client_tls_dheparams", _STR, "auto", "Diffie-Hellman parameters.", since="1.7", audience=_NO),
    Parameter("client_tls_ecdhcurve", _STR, "auto", "Elliptic curve.", since="1.7", audience=_NO),
)
# fmt: on
