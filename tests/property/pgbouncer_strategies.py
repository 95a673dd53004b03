"""Compositions for hypothesis: ordinary ones, and ones with every kind of text an attacker or an accident may bring."""

from hypothesis import strategies as st

from pgbouncer_operator.pgbouncer.composition import Composition, UserEntry
from pgbouncer_operator.protocol.intent import DatabaseIntent, Intent, ServerTls

# What means something to an ini, a connection string, a shell or an operating system.
SPLINTERS = (
    "\n", "\r", "\0", "\t", "\x0b", "\x85", "\u2028", "'", "''", '"', '""', "\\", "%include /etc/passwd", "[pgbouncer]",
    "[databases]\n", "admin_users = x", " = ", "=", ";", "#", " ", "  ", "\u00a0", "ü", "🐘", "\ud800", "*", "%", "$1",
    "host='x'", "pool_size=0", "max_db_connections = 0", "trust", "a", "shop", "pgbouncer", "@", ",", "/", ":",
    "x" * 70,
)  # fmt: skip
WILD = st.lists(st.sampled_from(SPLINTERS) | st.text(max_size=3), min_size=1, max_size=4).map("".join)
TAME = st.text(alphabet='abcdefgh _-.;#=@%[]\\/"üß🐘中', min_size=1, max_size=12)
HOSTS = st.sampled_from(["postgres", "pg.shop.svc", "127.0.0.1", "::1", "db-1.example.com."])

SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "pool_mode": st.sampled_from(["session", "transaction", "statement"]),
        "max_client_conn": st.integers(1, 100_000),
        "query_wait_timeout": st.integers(0, 600),
        "server_lifetime": st.sampled_from(["0", "0.5", "3600"]),
        "server_check_query": st.sampled_from(["", "select 1", "select ';' -- # %"]),
        "application_name_add_host": st.sampled_from([0, 1]),
        "ignore_startup_parameters": st.sampled_from(["", "extra_float_digits", "extra_float_digits, search_path"]),
        "max_prepared_statements": st.integers(0, 1000),
    },
)


def databases(text: st.SearchStrategy[str], hosts: st.SearchStrategy[str]) -> st.SearchStrategy[DatabaseIntent]:
    """A database with names of `text`."""
    modes = st.none() | st.sampled_from(["session", "transaction", "statement"])
    return st.builds(DatabaseIntent, name=text, host=hosts, port=st.integers(1, 65535), dbname=text, pool_mode=modes)


@st.composite
def compositions(draw: st.DrawFn, wild: bool) -> Composition:
    """A composition; a wild one may hold anything in any string field."""
    text = WILD | TAME if wild else TAME
    settings = draw(SETTINGS)
    if wild and draw(st.booleans()):
        settings |= {
            draw(st.sampled_from(["server_check_query", "login_notify_message", "pool_mode"]) | WILD): draw(WILD)
        }
    # A tame name must not be blank at an end, which only the wild ones may try.
    chosen = draw(st.lists(databases(text, HOSTS | WILD if wild else HOSTS), min_size=1, max_size=4))
    unique = {each.name: each for each in chosen}
    logins = {
        each: UserEntry(each, "secret", draw(st.none() | st.integers(1, 50)))
        for each in draw(st.lists(text, max_size=4))
    }
    tls = (
        ServerTls("require")
        if not wild
        else ServerTls("verify-full", draw(st.sampled_from(["system", "ca.crt"]) | WILD))
    )
    return Composition(
        intent=Intent("shop/pool", settings, tuple(unique.values()), (), tls),
        shares={name: draw(st.integers(1, 100)) for name in unique},
        seq=draw(st.integers(0, 10**6)),
        logins=tuple(logins.values()),
        credentials=draw(TAME),
        stats_user="stats_x1",
    )
