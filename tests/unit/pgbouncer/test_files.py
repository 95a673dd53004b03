"""Userlist, hba, ini syntax and figures."""

import pytest

from pgbouncer_operator.pgbouncer import hba, ini, stats, userlist

SECRET = "hunter2-very-secret"


def test_quotes_are_doubled_and_lines_sorted():
    text = userlist.render([("b", 'p"w\\'), ('a"', "x")])
    assert text == '"a""" "x"\n"b" "p""w\\"\n'
    assert userlist.parse(text) == {"b": 'p"w\\', 'a"': "x"}


@pytest.mark.parametrize(
    ("login", "password", "words"),
    [
        ("", SECRET, "the login '' is empty"),
        ("a\n", SECRET, "U+000A"),
        ("a" * 128, SECRET, "longer than 127 bytes"),
        ("ü" * 64, SECRET, "longer than 127 bytes"),
        ("a", "", "is empty"),
        ("a", f"{SECRET}\n", "a last newline"),
        ("a", f"{SECRET}\0", "U+0000"),
        ("a", SECRET * 200, "longer than 2000 bytes"),
        ("a", f"SCRAM-SHA-256$4096:{SECRET}", "is a hash"),
        ("a", "md5" + "0" * 32, "is a hash"),
    ],
)
def test_a_pair_that_cannot_be_written_is_refused_without_its_password(login, password, words):
    with pytest.raises(userlist.UserlistError) as caught:
        userlist.render([(login, password)])
    assert words in str(caught.value)
    assert SECRET not in str(caught.value)


def test_the_console_over_tcp_is_closed_before_any_rule_that_opens_databases():
    lines = [line.split() for line in hba.render("stats_a1").splitlines()]
    assert lines[0] == ["host", "pgbouncer", "stats_a1", "127.0.0.1/32", "trust"]
    rejects = [index for index, line in enumerate(lines) if line[-1] == "reject"]
    opens = [index for index, line in enumerate(lines) if line[1] == "all"]
    assert max(rejects) < min(opens)
    assert all(lines[index][-1] == "scram-sha-256" for index in opens)
    assert [line[-1] for line in lines].count("trust") == 1


@pytest.mark.parametrize(
    "text",
    [
        "[pgbouncer]\n%include /etc/passwd\n",
        "[nonsense]\n",
        "listen_port = 1\n",
        "[pgbouncer]\nno equals sign\n",
        "[databases]\na = host=''\n",
        "[databases]\na = host='x\n",
        '[databases]\n"a" = host=x\n',
    ],
)
def test_the_parser_refuses_what_pgbouncer_refuses(text):
    with pytest.raises(ini.SyntaxProblem):
        ini.parse(text)


def test_the_parser_reads_comments_quotes_and_blanks_as_pgbouncer_does():
    text = "; c\n# c\n[databases]\n 'a b'=host=h  dbname='it''s' \n[pgbouncer]\nkey  =  7 ; seven \n"
    read = ini.parse(text)
    assert read.databases == {"a b": {"host": "h", "dbname": "it's"}}
    assert read.pgbouncer == {"key": "7 ; seven"}


def pool_row(database="shop", **values):
    columns = ("cl_active", "cl_waiting", "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used")
    row = dict.fromkeys((*columns, "sv_tested", "sv_login", "maxwait", "maxwait_us"), 0)
    return {"database": database, "user": "shop", **row, **values}


def test_figures_leave_out_the_console_and_cancel_requests():
    rows = [
        pool_row("pgbouncer", cl_active=1),
        pool_row(cl_active=5, cl_waiting=2, sv_active=3, sv_active_cancel=9, sv_idle=1, sv_used=1, sv_login=1),
    ]
    (pool,) = stats.pools(rows)
    assert (pool.open, pool.busy, pool.idle, pool.waiting, pool.clients) == (6, 3, 3, 2, 7)


def test_the_longest_wait_is_in_seconds():
    assert stats.pools([pool_row(maxwait=2, maxwait_us=500_000)])[0].longest_wait == 2.5


def counters(xact_time, wait_time, xact_count):
    return {"xact_time": xact_time, "wait_time": wait_time, "xact_count": xact_count}


@pytest.mark.parametrize(
    ("sentence", "before", "after", "expected"),
    [
        ("busy is time in transactions less the wait", (0, 0, 0), (40e6, 35e6, 100), (4.0, 28.0, 80.0)),
        ("a wait without its transaction is not below 0", (0, 0, 0), (0, 5e6, 0), (0.0, 4.0, 0.0)),
        ("counters that fell start from 0", (90e6, 9e6, 900), (10e6, 0, 10), (8.0, 0.0, 8.0)),
    ],
)
def test_demand(sentence, before, after, expected):
    found = stats.demand(counters(*before), counters(*after), 1.25)
    assert (found.busy, found.queued, found.rate) == pytest.approx(expected)


def test_demand_needs_a_window():
    with pytest.raises(ValueError, match="longer than 0"):
        stats.demand({}, {}, 0)
