import base64
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from psycopg.conninfo import conninfo_to_dict

from pgbouncer_operator.api.connection_pool import ConnectionPool, parse
from pgbouncer_operator.resources.connection_secret import connection_secret, connection_secrets, secret_inputs
from pgbouncer_operator.resources.login import Login

NASTY = "p@:/?#% ü\"'\\"
LOGIN = Login("shop:user", NASTY)


def pool(**spec: Any) -> ConnectionPool:
    given = {
        "backend": {"host": "postgres"},
        "databases": [{"name": "shop"}],
        "users": [{"name": "shop", "secretRef": {"name": "shop-db"}}],
        "serverConnections": {"max": 25},
    }
    return parse({"metadata": {"name": "shop-pool", "namespace": "web", "uid": "u"}, "spec": given | spec})


def values(given: ConnectionPool, place: int = 0) -> dict[str, str]:
    body = connection_secret(given, connection_secrets(given)[place], LOGIN)
    return {key: base64.b64decode(value).decode() for key, value in body["data"].items()}


def split_pgpass(line: str) -> list[str]:
    fields, escaped = [""], False
    for character in line:
        if escaped or character not in ":\\":
            fields[-1] += character
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            fields.append("")
    return fields


@pytest.mark.parametrize("host", ["postgres", "10.0.0.7", "fd00::5", "main.example.com"])
@pytest.mark.parametrize("place", [0, 1])
def test_libpq_reads_back_what_was_meant(host: str, place: int) -> None:
    given = pool(backend={"host": host}, databases=[{"name": "my shop/ü?"}])
    found = values(given, place)
    read = conninfo_to_dict(found["uri"])
    assert (read["user"], read["password"], read["dbname"]) == ("shop:user", NASTY, "my shop/ü?")
    assert (read["host"], str(read["port"]), read["sslmode"]) == (found["PGHOST"], found["PGPORT"], found["PGSSLMODE"])
    assert found["host"] == (host if place else "shop-pool.web.svc")


def test_jdbc_reads_back_what_was_meant() -> None:
    url = urlsplit(values(pool(backend={"host": "fd00::5"}), 1)["jdbc-uri"].removeprefix("jdbc:"))
    query = parse_qs(url.query, strict_parsing=True)
    assert (url.hostname, url.port, unquote(url.path)) == ("fd00::5", 5432, "/shop")
    assert query == {"user": ["shop:user"], "password": [NASTY], "sslmode": ["require"]}


def test_pgpass_escapes_colons_and_backslashes() -> None:
    line = values(pool(backend={"host": "fd00::5"}), 1)["pgpass"]
    assert split_pgpass(line) == ["fd00::5", "5432", "shop", "shop:user", NASTY]


def test_the_way_past_the_pool_stands_in_the_direct_secret_only() -> None:
    through, direct = values(pool()), values(pool(), 1)
    assert through["DATABASE_URL"] == through["uri"]
    assert direct["DIRECT_URL"] == direct["uri"]
    assert "DIRECT_URL" not in through
    assert "DATABASE_URL" not in direct
    assert "postgres:5432" not in "".join(through.values())


def test_one_database_and_one_user_leave_no_choice_and_more_do() -> None:
    assert [each.name for each in connection_secrets(pool())] == ["shop-pool-connection", "shop-pool-direct"]
    assert connection_secrets(pool(databases=[{"name": "a"}, {"name": "b"}])) == ()
    assert connection_secrets(pool(connectionSecrets=[])) == ()


def test_the_external_host_and_the_services_port_are_what_applications_get() -> None:
    found = values(pool(service={"port": 5432, "externalHost": "pool.example.com"}))
    assert (found["host"], found["port"]) == ("pool.example.com", "5432")


def test_the_direct_secret_names_the_database_as_the_server_knows_it() -> None:
    given = pool(databases=[{"name": "shop", "backendName": "shop_v2"}])
    assert values(given)["PGDATABASE"] == "shop"
    assert values(given, 1)["PGDATABASE"] == "shop_v2"


def test_without_a_certificate_nothing_is_verified_and_with_one_everything() -> None:
    assert values(pool())["sslmode"] == "disable"
    for mode in ("require", "prefer"):
        found = values(pool(clients={"tls": {"secretName": "cert", "mode": mode}}))
        assert (found["sslmode"], found["PGSSLMODE"]) == ("verify-full", "verify-full")
        assert found["uri"].endswith("?sslmode=verify-full")


@pytest.mark.parametrize("place", [0, 1])
def test_the_ca_is_a_key_of_its_own_and_in_no_url(place: int) -> None:
    given = pool(clients={"tls": {"secretName": "cert"}}, backend={"host": "pg", "tls": {"ca": {"system": True}}})
    body = connection_secret(given, connection_secrets(given)[place], LOGIN, "PEM")
    found = {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
    assert found["ca.crt"] == "PEM"
    assert "ca.crt" not in values(given, place)
    assert "sslrootcert" not in "".join(found.values())


@pytest.mark.parametrize(
    "change",
    [
        {"clients": {"tls": {"secretName": "cert"}}},
        {"backend": {"host": "postgres", "tls": {"ca": {"secretKeyRef": {"name": "pg", "key": "ca.crt"}}}}},
        {"authQuery": {"secretRef": {"name": "lookup"}, "database": "shop"}},
        {"service": {"externalHost": "pool.example.com"}},
    ],
    ids=["certificate", "CA", "lookup", "host"],
)
def test_secrets_are_read_again_when_the_spec_names_others(change: dict[str, Any]) -> None:
    assert secret_inputs(pool(**change)) != secret_inputs(pool())


def own(keys: dict[str, str], login: Login = LOGIN) -> dict[str, str]:
    """The keys of a Secret whose entry has these templates."""
    entry = {"name": "app", "database": "shop", "user": "shop", "keys": keys}
    given = pool(connectionSecrets=[entry])
    body = connection_secret(given, connection_secrets(given)[0], login)
    found = {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
    return {key: found[key] for key in keys}


def test_a_template_is_filled_with_the_standard_values() -> None:
    names = ("host", "port", "database", "username", "password", "sslmode", "uri", "jdbc-uri")
    found = own({f"MY_{name}": f"<{{{name}}}>" for name in names})
    standard = values(pool())
    assert found == {f"MY_{name}": f"<{standard[name]}>" for name in names}


def test_libpq_reads_back_a_url_that_is_made_of_parts() -> None:
    template = "postgres://{url-username}:{url-password}@{url-host}:{port}/{url-database}?sslmode={sslmode}"
    direct = {"name": "app", "database": "my shop/ü?", "user": "shop", "endpoint": "Backend", "keys": {"URL": template}}
    given = pool(backend={"host": "fd00::5"}, databases=[{"name": "my shop/ü?"}], connectionSecrets=[direct])
    read = conninfo_to_dict(values(given)["URL"])
    assert (read["user"], read["password"], read["dbname"]) == ("shop:user", NASTY, "my shop/ü?")
    assert (read["host"], str(read["port"]), read["sslmode"]) == ("fd00::5", "5432", "require")


def test_a_key_of_the_application_takes_the_place_of_a_standard_one() -> None:
    standard = values(pool())["uri"]
    assert own({"DATABASE_URL": "{uri}&connect_timeout=3"}) == {"DATABASE_URL": f"{standard}&connect_timeout=3"}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{host}}", "{host}"),
        ("{{{username}}}", "{shop:user}"),
        ("", ""),
        ("{{}}", "{}"),
        ("\\1 %s ${{HOME}}", "\\1 %s ${HOME}"),
    ],
)
def test_a_brace_that_is_written_twice_is_a_brace(template: str, text: str) -> None:
    assert own({"A": template}) == {"A": text}


def test_a_value_with_braces_is_no_template() -> None:
    login = Login("{password}", "{uri}{{x}}")
    assert own({"A": "{username} {password}"}, login) == {"A": "{password} {uri}{{x}}"}


def test_a_secret_has_the_labels_and_annotations_of_its_entry_and_none_without() -> None:
    entry = {"name": "app", "database": "shop", "user": "shop"}
    marks = {"labels": {"team": "shop"}, "annotations": {"example.com/mirror": "yes"}}
    for more in ({}, marks):
        given = pool(connectionSecrets=[{**entry, **more}])
        assert connection_secret(given, connection_secrets(given)[0], LOGIN)["metadata"] == {"name": "app", **more}


@pytest.mark.parametrize("more", [{"keys": {"A": "{uri}"}}, {"labels": {"a": "b"}}, {"annotations": {"a": "b"}}])
def test_secrets_are_written_again_when_an_entry_has_other_keys_or_labels(more: dict[str, Any]) -> None:
    entry = {"name": "app", "database": "shop", "user": "shop"}
    before, after = pool(connectionSecrets=[entry]), pool(connectionSecrets=[{**entry, **more}])
    assert secret_inputs(before) != secret_inputs(after)


def test_a_login_never_shows_its_password() -> None:
    assert NASTY not in repr(LOGIN)
    assert NASTY not in f"{[LOGIN]}"
