"""PgBouncer's auth file: logins and passwords. The whole text is secret. Pure.

PgBouncer stops silently at a line that it cannot read, and the users after that line cannot log in. So every login and
password is checked before it is written. https://www.pgbouncer.org/config.html#authentication-file-format
"""

import re
from collections.abc import Iterable

import pgbouncer_operator.pgbouncer.parameters as parameters
from pgbouncer_operator.pgbouncer.characters import unfit


class UserlistError(ValueError):
    """A login or password that the file cannot hold. The message names the login, never the password."""


def render(entries: Iterable[tuple[str, str]]) -> str:
    """The file's text, sorted by login. entries: pairs of login and password. Raises UserlistError."""
    lines = []
    for login, password in sorted(entries):
        problem = check(login, password)
        if problem is not None:
            raise UserlistError(problem)
        lines.append(f"{_quoted(login)} {_quoted(password)}\n")
    return "".join(lines)


def check(login: str, password: str) -> str | None:
    """Why PgBouncer cannot use this pair, with the remedy; None if it can. The password is not in the text."""
    problem = _problem(login, parameters.MAX_LOGIN_BYTES)
    if problem is not None:
        return f"the login {login!r} {problem}"
    problem = _problem(password, parameters.MAX_PASSWORD_BYTES)
    if problem is not None:
        return f"the password of {login!r} {problem}"
    if re.fullmatch(r"md5[0-9a-f]{32}", password) or password.startswith("SCRAM-SHA-256$"):
        return f"the password of {login!r} is a hash: put the password itself into the Secret"
    return None


def parse(text: str) -> dict[str, str]:
    """What PgBouncer reads in a file that `render` wrote: a password for each login."""
    passwords = {}
    for line in text.split("\n"):
        if line:
            login, rest = _unquote(line)
            passwords[login] = _unquote(rest.lstrip(" "))[0]
    return passwords


def _problem(text: str, most: int) -> str | None:
    if not text:
        return "is empty: fill it in, in the Secret"
    fault = unfit(text)
    if fault is not None:
        return f"holds {fault}: remove it from the Secret (a last newline, often)"
    if len(text.encode()) > most:
        return f"is longer than {most} bytes: use a shorter one"
    return None


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _unquote(text: str) -> tuple[str, str]:
    position, taken = 1, []
    while True:
        end = text.index('"', position)
        taken.append(text[position:end])
        if text[end + 1 : end + 2] != '"':
            return '"'.join(taken), text[end + 1 :]
        position = end + 2
