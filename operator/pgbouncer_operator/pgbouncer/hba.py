"""PgBouncer's hba file: who may log in, from where, and how. Pure.

PgBouncer skips a line that it cannot read, even a `reject`. So the text has no input but the name of the stats user,
which the agent makes. https://www.pgbouncer.org/config.html#hba-file-format
"""

from pgbouncer_operator.pgbouncer.composition import LOOKUP


def render(stats_user: str) -> str:
    """The file's text. The first line that matches decides.

    The stats user reaches the console from inside the pod without a password, so that probes work in every state.
    Everybody else is refused there over TCP; PgBouncer's own uid needs no rule on the Unix socket. Nobody may use the
    database entry for look-ups of logins. Clients log in with SCRAM, and so does the agent's test on the socket.
    """
    return (
        f"host pgbouncer {stats_user} 127.0.0.1/32 trust\n"
        "host pgbouncer all 0.0.0.0/0 reject\n"
        "host pgbouncer all ::/0 reject\n"
        f"local {LOOKUP} all reject\n"
        f"host {LOOKUP} all 0.0.0.0/0 reject\n"
        f"host {LOOKUP} all ::/0 reject\n"
        "local all all scram-sha-256\n"
        "host all all 0.0.0.0/0 scram-sha-256\n"
        "host all all ::/0 scram-sha-256\n"
    )
