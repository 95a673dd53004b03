"""Userlist, hba, ini syntax and figures."""

import pytest

from pgbouncer_operator.pgbouncer import hba, ini, userlist

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
        ("a", SECRET * 8000, "longer than 65531 bytes"),
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
