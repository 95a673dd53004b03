"""PgBouncer's hba file: who may log in, from where, and how.

Pure. PgBouncer skips a line it cannot read and goes on, so a rule must never depend on anything but this text: there is
no input but the stats user's name, which is ours.
"""

from pgbouncer_operator.pgbouncer.composition import LOOKUP


def render(stats_user: str) -> str:
    """The file's text. First matching line wins.

    The console database is open to the stats user from inside the pod, without a password, because probes must work
    when nothing else does; to everybody else it is closed over TCP. PgBouncer's own uid reaches it by the Unix socket
    without any rule here. The entry that logins are looked up through is PgBouncer's own and closed to all.
    Applications log in with SCRAM, from everywhere and (the agent's own test) by the socket.
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
