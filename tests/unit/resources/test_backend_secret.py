"""The server in a Secret, as providers and PostgreSQL operators write it. All values are invented."""
# ruff: noqa: E501  one row a line, or nobody reads the table

import base64
from typing import Any

import pytest

from pgbouncer_operator.api.backend import TlsMode
from pgbouncer_operator.api.conditions import Reason
from pgbouncer_operator.api.connection_pool import ConnectionPool, InvalidSpec, parse
from pgbouncer_operator.resources.backend_secret import ServerUnavailable, read_server, with_server
from pgbouncer_operator.resources.login import Login, read_login

HUSH = "hu5h"
NEON = f"postgres://neondb_owner:{HUSH}@ep-cool-sun-123.eu-central-1.aws.neon.tech/neondb"
LOGIN = {"username": "app", "password": HUSH}
BINDING = {"type": "postgresql", "provider": "x", "host": "db.example.com", "port": "6000", "database": "shop", **LOGIN}
CNPG = {
    "dbname": "app", "host": "cluster-rw", "jdbc-uri": "jdbc:postgresql://cluster-rw.shop:5432/app?password=x&user=app",
    "password": HUSH, "pgpass": "cluster-rw:5432:app:app:x\n", "port": "5432", "user": "app", "username": "app",
    "uri": "postgresql://app:other@cluster-rw.shop:5432/app",
}  # fmt: skip
CRUNCHY = {
    "dbname": "hippo", "host": "hippo-primary.postgres-operator.svc", "password": HUSH, "port": "5432", "user": "rhino",
    "uri": "postgresql://rhino:x@hippo-primary.postgres-operator.svc:5432/hippo", "verifier": "SCRAM-SHA-256$4096:x",
    "pgbouncer-host": "hippo-pgbouncer.postgres-operator.svc", "pgbouncer-port": "5432",
}  # fmt: skip
HEROKU = {"DATABASE_URL": f"postgres://app:{HUSH}@ec2-1.compute-1.example.com:5432/d1"}
SUPABASE = {"url": f"postgresql://postgres.abc:{HUSH}@aws-0-eu.pooler.supabase.com:6543/postgres?pgbouncer=true"}


def pool(**spec: Any) -> ConnectionPool:
    backend = {"secretRef": {"name": "db", **spec.pop("reference", {})}, **spec.pop("backend", {})}
    return parse({"metadata": {"name": "shop"}, "spec": {"backend": backend, "serverConnections": {"max": 9}, **spec}})


def secret(values: dict[str, Any]) -> dict[str, Any]:
    return {"data": {key: base64.b64encode(str(value).encode()).decode() for key, value in values.items()}}


@pytest.mark.parametrize(
    ("values", "host", "port", "database", "login"),
    [
        (BINDING, "db.example.com", 6000, "shop", "app"),
        (CNPG, "cluster-rw", 5432, "app", "app"),
        (CRUNCHY, "hippo-primary.postgres-operator.svc", 5432, "hippo", "rhino"),
        (HEROKU, "ec2-1.compute-1.example.com", 5432, "d1", "app"),
        (SUPABASE, "aws-0-eu.pooler.supabase.com", 6543, "postgres", "postgres.abc"),
        ({"uri": f"{NEON}?sslmode=require"}, "ep-cool-sun-123.eu-central-1.aws.neon.tech", 5432, "neondb", "neondb_owner"),
        ({"POSTGRES_URL": HEROKU["DATABASE_URL"]}, "ec2-1.compute-1.example.com", 5432, "d1", "app"),
        ({"host": "unused", **HEROKU}, "ec2-1.compute-1.example.com", 5432, "d1", "app"),
        ({**LOGIN, **HEROKU}, "ec2-1.compute-1.example.com", 5432, "d1", "app"),
    ],
)  # fmt: skip
def test_a_secret_gives_the_server_one_database_and_one_login(
    values: dict[str, Any], host: str, port: int, database: str, login: str
) -> None:
    made = with_server(pool(), read_server(pool().spec, secret(values))).spec
    assert (made.backend.host, made.backend.port, [each.name for each in made.databases]) == (host, port, [database])
    (user,) = made.users
    assert (user.name, user.secret_ref.name) == ("default", "db")
    assert read_login(user, "users[default]", secret(values)) == Login(login, HUSH)


def test_a_key_that_is_named_goes_before_all_other_keys() -> None:
    found = read_server(pool(reference={"urlKey": "direct"}).spec, secret({**CNPG, "direct": NEON}))
    assert (found.backend.host, found.users[0].url_key) == ("ep-cool-sun-123.eu-central-1.aws.neon.tech", "direct")


def test_what_the_spec_has_goes_before_the_secret() -> None:
    written = pool(
        backend={"host": "other", "port": 6000, "tls": {"mode": "disable"}},
        databases=[{"name": "a"}, {"name": "b"}],
        users=[{"name": "web", "secretRef": {"name": "web"}}],
    )
    assert with_server(written, read_server(written.spec, secret(CNPG))) == written


def test_zalandos_secret_has_a_login_only_and_the_spec_has_the_rest() -> None:
    written = pool(backend={"host": "acid-minimal"}, databases=[{"name": "foo"}])
    made = with_server(written, read_server(written.spec, secret(LOGIN))).spec
    assert (made.backend.address, made.databases[0].name, made.users[0].url_key) == ("acid-minimal", "foo", None)


CA = {"ca.crt": "-----BEGIN CERTIFICATE-----"}


@pytest.mark.parametrize(
    ("values", "mode", "source"),
    [
        (BINDING, TlsMode.REQUIRE, ""),
        (BINDING | {"sslmode": "prefer"}, TlsMode.REQUIRE, ""),
        (BINDING | {"sslmode": "require"}, TlsMode.REQUIRE, ""),
        (BINDING | {"sslmode": "disable"} | CA, TlsMode.DISABLE, ""),
        (BINDING | CA, TlsMode.VERIFY_FULL, "secret"),
        (BINDING | {"sslmode": "require"} | CA, TlsMode.VERIFY_CA, "secret"),
        (BINDING | {"sslmode": "verify-ca"} | CA, TlsMode.VERIFY_CA, "secret"),
        (BINDING | {"sslmode": "verify-full"} | CA, TlsMode.VERIFY_FULL, "secret"),
        (BINDING | {"sslmode": "verify-full"}, TlsMode.VERIFY_FULL, "system"),
        ({"uri": f"{NEON}?sslmode=verify-full&sslrootcert=system"} | CA, TlsMode.VERIFY_FULL, "system"),
        ({"uri": f"{NEON}?sslmode=verify-full&sslrootcert=/etc/ca.pem"}, TlsMode.VERIFY_FULL, "system"),
        ({"uri": f"{NEON}?sslmode=disable"}, TlsMode.DISABLE, ""),
    ],
)
def test_tls_follows_the_mode_and_the_ca_and_is_off_only_where_the_secret_says_so(
    values: dict[str, Any], mode: TlsMode, source: str
) -> None:
    backend = read_server(pool().spec, secret(values)).backend
    assert backend.tls_mode is mode
    key = backend.ca.secret_key_ref if backend.ca else None
    assert (source == "secret", source == "system") == (key is not None, bool(backend.ca and backend.ca.system))
    assert key is None or (key.name, key.key) == ("db", "ca.crt")


@pytest.mark.parametrize(
    ("query", "ignored", "pooled"),
    [
        ("sslmode=require", "", False),
        ("sslmode=require&channel_binding=require&sslrootcert=/ca.pem", "channel_binding, sslrootcert", False),
        ("pgbouncer=true&connection_limit=1", "connection_limit", True),
        (f"connect_timeout=3&{HUSH}=1&b{HUSH}=2", "connect_timeout, 2 others", False),
        ("options=endpoint%3Dep-cool-sun-123", "", False),
    ],
)
def test_parameters_without_effect_are_named_only_if_they_are_known(query: str, ignored: str, pooled: bool) -> None:
    found = read_server(pool().spec, secret({"uri": f"{NEON}?{query}"}))
    assert (found.ignored, found.pooled) == (ignored, pooled)


def test_the_endpoint_in_the_options_may_be_that_of_a_pooled_host() -> None:
    url = "postgres://a:b@ep-cool-pooler.example.com/d?options=endpoint%3Dep-cool"
    assert read_server(pool().spec, secret({"uri": url})).backend.host == "ep-cool-pooler.example.com"


WRITTEN = {"databases": [{"name": "shop"}], "users": [{"name": "web", "secretRef": {"name": "web"}}]}
ENDPOINT = "Secret db: the URL has an endpoint in its options, which PgBouncer cannot pass on"


@pytest.mark.parametrize(
    ("spec", "values", "reason", "message"),
    [
        ({}, None, Reason.SECRET_NOT_FOUND, "Secret db does not exist. Create it, or correct backend.secretRef.name."),
        ({}, {}, Reason.SECRET_KEY_MISSING, "Secret db has no key host or uri or url or DATABASE_URL or POSTGRES_URL; found: nothing. Set backend.host, or backend.secretRef.urlKey."),
        ({}, LOGIN, Reason.SECRET_KEY_MISSING, "Secret db has no key host or uri"),
        ({"reference": {"urlKey": "direct"}}, CNPG, Reason.SECRET_KEY_MISSING, "Secret db has no key direct; found: dbname,"),
        ({}, {"host": "db", **LOGIN}, Reason.SECRET_KEY_MISSING, "Secret db has no key dbname or database; found: host, password, username. List the databases in spec.databases."),
        ({}, {"uri": f"postgres://a:{HUSH}@db"}, Reason.SECRET_KEY_MISSING, "Secret db key uri names no database."),
        ({}, {"uri": f"postgres://a:{HUSH}@/shop"}, Reason.SECRET_KEY_MISSING, "Secret db key uri names no host"),
        ({}, {"host": "db", "dbname": "d", "username": "a"}, Reason.SECRET_KEY_MISSING, "Secret db has no key password; found: dbname, host, username. Add it, or list the logins in spec.users."),
        ({}, {"uri": "postgres://a@db/shop"}, Reason.SECRET_VALUE_INVALID, "Secret db: key uri has no password"),
        ({}, BINDING | {"port": "54x2"}, Reason.SECRET_VALUE_INVALID, "Secret db: key port is no number: correct it."),
        ({}, BINDING | {"port": "70000"}, Reason.SECRET_VALUE_INVALID, "Secret db: port must be less than or equal to 65535."),
        ({}, BINDING | {"host": f"{HUSH}, b"}, Reason.SECRET_VALUE_INVALID, "Secret db: host must be one DNS name or one IP"),
        ({}, BINDING | {"host": f"{HUSH}\nport=1"}, Reason.SECRET_VALUE_INVALID, "Secret db: host must be one DNS name or one"),
        ({}, BINDING | {"host": "h" * 254}, Reason.SECRET_VALUE_INVALID, "Secret db: host "),
        ({}, BINDING | {"database": f"{HUSH}'"}, Reason.SECRET_VALUE_INVALID, "Secret db: the database's name must not contain"),
        ({}, BINDING | {"database": "pgbouncer"}, Reason.SECRET_VALUE_INVALID, "Secret db: the database's name pgbouncer and"),
        ({}, BINDING | {"database": "d" * 64}, Reason.SECRET_VALUE_INVALID, "Secret db: the database's name "),
        ({}, BINDING | {"sslmode": HUSH}, Reason.SECRET_VALUE_INVALID, "Secret db: sslmode is none of disable, allow, prefer, "),
        ({}, BINDING | {"sslmode": "verify-ca"}, Reason.SECRET_VALUE_INVALID, "Secret db: sslmode verify-ca needs a CA: add "),
        (WRITTEN, {"uri": f"{NEON}?options=-c%20search_path%3D{HUSH}"}, Reason.SECRET_VALUE_INVALID, "Secret db: the URL has options, which PgBouncer cannot pass on: remove them, and use ALTER ROLE"),
        (WRITTEN, {"uri": f"{NEON}?options=endpoint%3Dep-other"}, Reason.SECRET_VALUE_INVALID, ENDPOINT),
        (WRITTEN, {"uri": f"{NEON}?options=endpoint%3Dep-cool-sun-123&sslmode=disable"}, Reason.SECRET_VALUE_INVALID, ENDPOINT),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_secret_the_key_and_the_remedy_and_no_value(
    spec: dict[str, Any], values: dict[str, Any] | None, reason: Reason, message: str
) -> None:
    with pytest.raises(ServerUnavailable) as raised:
        read_server(pool(**spec).spec, None if values is None else secret(values))
    assert raised.value.reason is reason
    assert str(raised.value).startswith(message)
    assert HUSH not in str(raised.value)


def test_a_value_that_is_no_text_is_named_by_its_key() -> None:
    with pytest.raises(ServerUnavailable, match="Secret db: key host is not UTF-8 text: correct it"):
        read_server(pool().spec, {"data": secret(BINDING)["data"] | {"host": "/w=="}})


def test_a_rule_of_the_spec_holds_for_what_the_secret_says() -> None:
    entry = {"name": "shop-app", "database": "shop", "user": "shop"}
    written = pool(connectionSecrets=[entry])
    found = read_server(written.spec, secret(CNPG))
    with pytest.raises(InvalidSpec) as raised:
        with_server(written, found)
    assert [each.field for each in raised.value.problems] == ["spec.connectionSecrets"]
    assert "the database shop, which is not in spec.databases" in str(raised.value)
