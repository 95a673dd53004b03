"""What every server connection is set to, and how long its session can outlive whoever had it."""

from pgbouncer_operator.pgbouncer.session import CONNECT_QUERY, OUTLIVES, SETTINGS

PACKET = 512  # PgBouncer sends connect_query from a buffer of that size (include/pktbuf.h), and fails beyond it


def test_the_query_fits_into_pgbouncers_packet() -> None:
    assert len(f"Q1234{CONNECT_QUERY}0") <= PACKET


def test_the_span_covers_silence_and_then_an_answer_that_nobody_takes() -> None:
    silence = int(SETTINGS["tcp_keepalives_idle"])
    silence += int(SETTINGS["tcp_keepalives_interval"]) * int(SETTINGS["tcp_keepalives_count"])
    patience = int(SETTINGS["tcp_user_timeout"]) // 1000
    probes = range(int(SETTINGS["tcp_keepalives_idle"]), silence + 1, int(SETTINGS["tcp_keepalives_interval"]))
    given_up = next(moment for moment in probes[1:] if moment >= patience)  # Linux: at a probe, once one was sent
    noticed = int(SETTINGS["client_connection_check_interval"].removesuffix("s"))
    assert max(silence, given_up + patience) + noticed < OUTLIVES
