"""URLs as providers hand them out, and URLs that cannot be used."""

import pytest

from pgbouncer_operator.pgbouncer.server_url import ServerUrl, UrlError, login, parse

HUSH = "hu5h"


@pytest.mark.parametrize(
    ("text", "host", "port", "database"),
    [
        (f"postgres://app:{HUSH}@db.example.com/shop", "db.example.com", None, "shop"),
        (f"postgresql://app:{HUSH}@db.example.com:6543/shop?sslmode=require", "db.example.com", 6543, "shop"),
        (f"postgresql+asyncpg://app:{HUSH}@db:5432/shop", "db", 5432, "shop"),
        (f"postgres://app:{HUSH}@[2001:db8::1]:5432/shop", "2001:db8::1", 5432, "shop"),
        (f"postgres://app:{HUSH}@[2001:db8::1]/shop", "2001:db8::1", None, "shop"),
        (f"  postgres://app:{HUSH}@db:5432/shop\n", "db", 5432, "shop"),
        (f"postgres://app:{HUSH}@db/l%C3%A4den%2F2", "db", None, "läden/2"),
        (f"postgres://app:{HUSH}@db", "db", None, ""),
        (f"postgres://app:{HUSH}@db/?sslmode=require", "db", None, ""),
        (f"postgres://app:{HUSH}@db?sslmode=require", "db", None, ""),
        (f"postgres://app:{HUSH}@/shop", "", None, "shop"),
    ],
)
def test_host_port_and_database_are_read(text: str, host: str, port: int | None, database: str) -> None:
    url = parse(text)
    assert (url.host, url.port, url.database, url.username, url.password) == (host, port, database, "app", HUSH)


@pytest.mark.parametrize(
    ("text", "username", "password"),
    [
        ("postgres://user.project:a%40b%3A%2F%3F%23@pooler.example.com:6543/postgres", "user.project", "a@b:/?#"),
        ("postgres://app%40server:x@db/shop", "app@server", "x"),
        ("postgres://app:a+b@db/shop", "app", "a+b"),
        ("postgres://app:a#b?c@db/shop", "app", "a#b?c"),
        ("postgres://app:a:b@db/shop", "app", "a:b"),
        ("postgres://app:%C3%BC@db/shop", "app", "ü"),
        ("postgres://app:endpoint%3Dep-cool%3Bx@db/shop", "app", "endpoint=ep-cool;x"),
    ],
)
def test_login_and_password_are_decoded(text: str, username: str, password: str) -> None:
    assert login(text) == (username, password)


def test_parameters_are_decoded() -> None:
    url = parse("postgres://a:b@db/shop?sslmode=verify-full&options=endpoint%3Dep-cool&&flag")
    assert url.parameters == {"sslmode": "verify-full", "options": "endpoint=ep-cool", "flag": ""}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not a URL that begins with postgres:// or postgresql://: correct it"),
        (HUSH, "is not a URL that begins with postgres:// or postgresql://: correct it"),
        (f"mysql://app:{HUSH}@db/shop", "is not a URL that begins with postgres:// or postgresql://: correct it"),
        (f"jdbc:postgresql://db/shop?password={HUSH}", "is not a URL that begins with postgres:// or postgresql://"),
        (f"postgres://app:{HUSH}@db/shop\nhost=evil", "is not a URL that begins with postgres:// or postgresql://"),
        (f"postgres://app:{HUSH}@db/shop%0Ahost=evil", "has an encoded control character: remove it"),
        (f"postgres://app:{HUSH}%FF@db/shop", "has percent-encoded bytes that are not UTF-8: encode the text again"),
        (f"postgres://app:{HUSH}@one,two/shop", "names several hosts: keep one, best that of the primary"),
        (f"postgres://app:{HUSH}@one:5432,two:5432/shop", "names several hosts: keep one, best that of the primary"),
        (f"postgres://app:{HUSH}@db:five/shop", "has a port that is no number, or has characters in login or password"),
        (f"postgres://app:{HUSH}/x@db/shop", "has characters in login or password that need percent-encoding"),
        (f"postgres://app:123/{HUSH}@db/shop", "has characters in login or password that need percent-encoding"),
        (f"postgres://app@db/shop?password={HUSH}", "has password as a parameter: write it before the question mark"),
        (f"postgres:///shop?host=/tmp/{HUSH}", "has host as a parameter: write it before the question mark"),
        (f"postgres://app:{HUSH * 2100}@db/shop", "is longer than 8192 characters: use a shorter URL"),
        ("postgres://app@db/shop", "has no password: it needs both, as in postgres://user:password@host"),
        (f"postgres://:{HUSH}@db/shop", "has no user: it needs both, as in postgres://user:password@host"),
        ("postgres://db/shop", "has no user: it needs both, as in postgres://user:password@host"),
    ],
)
def test_what_is_wrong_is_said_with_the_remedy_and_without_a_value(text: str, problem: str) -> None:
    with pytest.raises(UrlError) as raised:
        login(text)
    assert str(raised.value).startswith(problem)
    assert HUSH not in str(raised.value)
    assert raised.value.__cause__ is None


def test_neither_login_nor_password_is_in_a_representation() -> None:
    assert HUSH not in repr(parse(f"postgres://{HUSH}:{HUSH}@db/shop?x={HUSH}"))
    assert isinstance(parse("postgres://a:b@db"), ServerUrl)
