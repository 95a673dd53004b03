"""What the package renders, read and run by a real PgBouncer in front of a real PostgreSQL."""

import threading
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from tests.process import servers
from tests.process.console import ConsoleError, ConsoleUnreachable, quoted
from tests.process.marks import PROCESS
from tests.process.servers import STATS_USER, Bouncer, Postgres, wait_until
from tests.property.pgbouncer_strategies import compositions

from pgbouncer_operator.pgbouncer import ini
from pgbouncer_operator.pgbouncer.session import SETTINGS
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls

pytestmark = PROCESS

AWKWARD = "@:/?#% ü\"'\\"


def composition(bouncer: Bouncer, postgres: Postgres, *logins: ini.UserEntry, share: int = 4) -> ini.Composition:
    """A pool of one database, `shop`, in front of the server."""
    return ini.Composition(
        intent=Intent(
            "shop/pool",
            {"max_client_conn": 100},
            (DatabaseIntent("shop", "127.0.0.1", postgres.port, "postgres"),),
            (),
            ServerTls("disable"),
        ),
        shares={"shop": share},
        seq=1,
        logins=logins,
        credentials="..2026",
        stats_user=STATS_USER,
        paths=bouncer.paths,
        port=bouncer.port,
    )


@pytest.fixture(scope="module")
def loaded(postgres: Postgres):
    with servers.bouncer() as bouncer:
        bouncer.write(composition(bouncer, postgres))
        bouncer.start()
        yield bouncer


@settings(max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(compositions(wild=False))
def test_the_program_reads_what_was_meant(loaded: Bouncer, drawn: ini.Composition) -> None:
    meant = replace(drawn, paths=loaded.paths, port=loaded.port)
    ini_meant = ini.compose(meant)
    loaded.write(meant)
    loaded.reload()
    shown = loaded.config()
    assert shown["syslog_ident"] == ini.marker(meant)
    reloadable = ini_meant.pgbouncer.keys() - {"listen_backlog", "unix_socket_mode", "listen_addr"}
    assert {key: shown[key] or "" for key in reloadable} == {key: ini_meant.pgbouncer[key] for key in reloadable}
    databases = {row["name"]: row for row in loaded.show("DATABASES") if row["name"] != "pgbouncer"}
    # A database that is gone from the file lives on in the list for as long as it has a pool; it has none here.
    assert databases.keys() == ini_meant.databases.keys()
    for name, members in ini_meant.databases.items():
        row = databases[name]
        assert (row["host"], str(row["port"]), row["database"]) == (members["host"], members["port"], members["dbname"])
        assert str(row["pool_size"]) == str(row["max_connections"]) == members["max_db_connections"]
        assert row["pool_mode"] == members["pool_mode"]
    users = {row["name"]: row["max_user_connections"] for row in loaded.show("USERS")}
    assert {each.login: each.max or 0 for each in meant.logins}.items() <= users.items()


def test_the_marker_stands_only_when_the_whole_file_was_read(bouncer: Bouncer, postgres: Postgres) -> None:
    first = composition(bouncer, postgres)
    bouncer.write(first)
    bouncer.start()
    assert bouncer.config()["syslog_ident"] == ini.marker(first)
    second = replace(first, seq=2)
    broken = ini.render(second).replace("tcp_keepcnt = 3", "tcp_keepcnt = three")
    bouncer.write_ini(broken)
    with pytest.raises(ConsoleError):
        bouncer.reload()
    assert bouncer.config()["syslog_ident"] != ini.marker(second)
    # What was written first was read before the bad line: logins and limits still hold.
    assert bouncer.config()["auth_type"] == "hba"
    assert bouncer.config()["max_client_conn"] == "100"


def test_an_awkward_password_logs_in_by_tcp_and_by_the_socket(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("awkward ü", AWKWARD)
    bouncer.write(composition(bouncer, postgres, ini.UserEntry("awkward ü", AWKWARD)))
    bouncer.start()
    for host in ("127.0.0.1", str(bouncer.root)):
        with bouncer.connect(host=host, user="awkward ü", password=AWKWARD, dbname="shop") as client:
            assert client.execute("SELECT current_user").fetchone() == ("awkward ü",)
    with pytest.raises(psycopg.OperationalError):
        bouncer.connect(user="awkward ü", password="another", dbname="shop")


def test_the_console_is_for_our_uid_and_the_stats_user_only(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("console_app", "pw")
    bouncer.write(composition(bouncer, postgres, ini.UserEntry("console_app", "pw")))
    bouncer.start()
    assert bouncer.show("VERSION")  # the Unix socket, by uid
    with pytest.raises(ConsoleUnreachable):
        bouncer.console.query("SHOW VERSION")  # the same socket, as root
    with bouncer.connect(user=STATS_USER, dbname="pgbouncer", autocommit=True) as probe:
        assert probe.execute("SHOW VERSION").fetchone() == ("PgBouncer 1.26.1",)
        with pytest.raises(psycopg.Error, match="admin access needed"):
            probe.execute("RELOAD")
    for user in ("pgbouncer", "console_app", "nobody"):
        with pytest.raises(psycopg.OperationalError):
            bouncer.connect(user=user, password="pw", dbname="pgbouncer")


def test_the_stats_user_reaches_no_database(bouncer: Bouncer, postgres: Postgres) -> None:
    bouncer.write(composition(bouncer, postgres))
    bouncer.start()
    with pytest.raises(psycopg.OperationalError):
        bouncer.connect(user=STATS_USER, password="guess", dbname="shop")


def test_every_server_connection_notices_soon_that_its_other_end_is_gone(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("abandon", "pw")
    bouncer.write(composition(bouncer, postgres, ini.UserEntry("abandon", "pw")))
    bouncer.start()
    with bouncer.connect(user="abandon", password="pw", dbname="shop") as client:
        for name, value in SETTINGS.items():
            assert client.execute(f"SHOW {name}").fetchone() == (value,), name


def test_an_abandoned_statement_ends_on_the_server(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("leaver", "pw")
    bouncer.write(composition(bouncer, postgres, ini.UserEntry("leaver", "pw")))
    bouncer.start()

    def running() -> int:
        query = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'leaver' AND state = 'active'"
        return int(postgres.sql(query)[0][0])

    client = bouncer.connect(user="leaver", password="pw", dbname="shop", autocommit=True)
    client.pgconn.send_query(b"SELECT pg_sleep(3600)")
    wait_until(lambda: running() == 1, "the statement runs")
    client.pgconn.finish()
    wait_until(lambda: running() == 0, "PostgreSQL has noticed that nobody waits for the statement")
    client.close()


def test_in_session_mode_the_check_for_abandoned_statements_ends_with_the_first_client(
    bouncer: Bouncer, postgres: Postgres
) -> None:
    """A limit that the README states: DISCARD ALL between two clients resets what connect_query has set."""
    postgres.role("sessions", "pw")
    pool = composition(bouncer, postgres, ini.UserEntry("sessions", "pw"), share=1)
    bouncer.write(replace(pool, intent=replace(pool.intent, settings={"pool_mode": "session"})))
    bouncer.start()
    seen = []
    for _ in range(2):
        with bouncer.connect(user="sessions", password="pw", dbname="shop") as client:
            seen += client.execute("SHOW client_connection_check_interval").fetchone() or ()
    assert seen == ["1s", "0"]


def pool_of(bouncer: Bouncer) -> dict[str, Any]:
    """The one row of SHOW POOLS beside the console's."""
    (row,) = [each for each in bouncer.show("POOLS") if each["database"] != "pgbouncer"]
    return row


def clients_of(bouncer: Bouncer) -> int:
    row = pool_of(bouncer)
    return int(row["cl_active"] + row["cl_waiting"])


def test_a_lower_share_holds_after_reload_and_reconnect_without_an_error(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("shrink", "pw")
    before = composition(bouncer, postgres, ini.UserEntry("shrink", "pw"), share=8)
    bouncer.write(before)
    bouncer.start()
    done, errors, stop = [0], [], threading.Event()

    def work() -> None:
        try:
            with bouncer.connect(user="shrink", password="pw", dbname="shop", autocommit=True) as client:
                while not stop.is_set():
                    client.execute("SELECT pg_sleep(0.01)")
                    done[0] += 1
        except psycopg.Error as error:
            errors.append(error)

    def sessions() -> int:
        return int(postgres.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'shrink'")[0][0])

    clients = [threading.Thread(target=work) for _ in range(16)]
    for client in clients:
        client.start()
    try:
        wait_until(lambda: sessions() == 8 and clients_of(bouncer) == 16, "the pool is full")
        bouncer.write(replace(before, shares={"shop": 3}, seq=2))
        bouncer.reload()
        bouncer.admin(f"RECONNECT {quoted('shop')}")
        wait_until(lambda: sessions() <= 3, "the pool has shrunk")
        at_shrink = done[0]
        wait_until(lambda: done[0] > at_shrink + 50, "clients are served still")
        assert sessions() <= 3
        row = pool_of(bouncer)
        assert (row["database"], row["user"]) == ("shop", "shrink")
        assert sum(row[f"sv_{state}"] for state in ("active", "being_canceled", "idle", "used", "tested", "login")) <= 3
        assert clients_of(bouncer) == 16
    finally:
        stop.set()
        for client in clients:
            client.join(servers.DEADLINE)
    assert errors == []


def test_an_override_that_is_gone_is_gone_after_a_reload(bouncer: Bouncer, postgres: Postgres) -> None:
    before = composition(bouncer, postgres, ini.UserEntry("limited", "pw", max=2))
    bouncer.write(before)
    bouncer.start()

    def limit() -> int:
        return next(row["max_user_connections"] for row in bouncer.show("USERS") if row["name"] == "limited")

    assert limit() == 2
    bouncer.write(replace(before, logins=(ini.UserEntry("limited", "pw"),)))
    bouncer.reload()
    assert limit() == 0


def test_a_throw_away_process_has_no_tcp_port(bouncer: Bouncer, postgres: Postgres) -> None:
    bouncer.write(replace(composition(bouncer, postgres), listen=False))
    bouncer.start()
    assert bouncer.config()["listen_addr"] == ""
    with pytest.raises(psycopg.OperationalError, match="refused"):
        bouncer.connect(user=STATS_USER, dbname="pgbouncer")


def test_a_stopped_process_is_told_from_one_that_is_down_and_holds_no_session(
    bouncer: Bouncer, postgres: Postgres
) -> None:
    bouncer.write(composition(bouncer, postgres))
    bouncer.start()
    impatient = replace(bouncer.console, timeout=0.5)
    bouncer.freeze()
    with servers.as_server_user(), pytest.raises(ConsoleUnreachable, match="in time"):
        impatient.query("SHOW VERSION")
    bouncer.thaw()
    bouncer.terminate()  # would wait for ever on a session left open
    with servers.as_server_user(), pytest.raises(ConsoleUnreachable):
        impatient.query("SHOW VERSION")


def test_demand_from_totals_is_the_servers_in_use(bouncer: Bouncer, postgres: Postgres) -> None:
    postgres.role("demand", "pw")
    bouncer.write(composition(bouncer, postgres, ini.UserEntry("demand", "pw")))
    bouncer.start()
    with bouncer.connect(user="demand", password="pw", dbname="shop", autocommit=True) as client:
        client.execute("SELECT 1")
        before = next(row for row in bouncer.show("STATS_TOTALS") if row["database"] == "shop")
        client.execute("SELECT pg_sleep(0.3)")
        after = next(row for row in bouncer.show("STATS_TOTALS") if row["database"] == "shop")
    busy = (after["xact_time"] - before["xact_time"]) - (after["wait_time"] - before["wait_time"])
    assert busy >= 300_000  # microseconds in which one server was in use
    assert after["xact_count"] - before["xact_count"] == 1
