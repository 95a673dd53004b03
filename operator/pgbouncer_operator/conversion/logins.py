"""Logins: each becomes a user of the pool with a Secret, and a look-up becomes spec.authQuery. Pure.

A plain password goes into a Secret of its own. A hash cannot: PgBouncer logs in to PostgreSQL with the password itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from pgbouncer_operator.conversion.ini_file import IniFile, Line, ListedLogin
from pgbouncer_operator.conversion.result import PLACEHOLDER, Body, Conversion, count, handle, secret
from pgbouncer_operator.pgbouncer import userlist

# Ways to log in that a pool does not have. Passwords work with all others.
_WITHOUT_PASSWORD = {"any", "trust", "cert", "hba", "ldap", "pam"}
_OF_USERS = {"max_user_connections"}


@dataclass(slots=True)
class Logins:
    """The logins of a pool."""

    name: str
    """The pool's name, which the Secrets' names begin with."""
    result: Conversion
    """Takes remarks and Secrets."""
    users: list[Body]
    """Entries of spec.users."""
    secrets: dict[str, str]
    """By login the name of its Secret."""

    def add(self, entry: ListedLogin, user: bool = True) -> str:
        """The Secret of a login, which is a user of the pool too unless it only looks up others."""
        if entry.login not in self.secrets:
            taken = [each.removeprefix(f"{self.name}-") for each in self.secrets.values()]
            self.secrets[entry.login] = f"{self.name}-{handle(entry.login, taken)}"
            self._store(entry)
        found = self.secrets[entry.login]
        short = found.removeprefix(f"{self.name}-")
        if user and all(each["name"] != short for each in self.users):
            self.users.append({"name": short, "secretRef": {"name": found}})
        return found

    def _store(self, entry: ListedLogin) -> None:
        """Keep a plain password for the Secret, or say what the person has to put there."""
        name, login = self.secrets[entry.login], repr(entry.login)
        complaint = userlist.check(entry.login, entry.password) if entry.password else None
        if entry.password and complaint is None:
            self.result.secrets.append(secret(name, entry.login, entry.password))
            message = f"The login {login} becomes the Secret {name}: --secrets FILE writes it, or create it."
        elif complaint:
            message = f"{complaint}: create the Secret {name}, with the keys username and password."
        else:
            message = f"The password of {login} is not here: create the Secret {name}, with username and password."
        self.result.remark(entry.place, message)


def convert(ini: IniFile, entries: Iterable[ListedLogin], name: str, result: Conversion) -> Logins:
    """The users of a userlist.txt, of forced logins and of [users]. There is at least one: a pool needs it."""
    found, known = Logins(name, result, [], {}), {each.login: each for each in entries}
    looks_up = ini.setting("auth_user")
    for entry in known.values():
        if entry.login != looks_up:
            found.add(entry)
    for line in ini.databases:
        if login := line.members.get("user"):
            _forced(line, login, found, known)
    for line in ini.users:
        _of_user(line, found, known)
    _settings(ini, found)
    if not found.users and looks_up:
        found.add(known.get(looks_up, ListedLogin(ini.place("auth_user"), looks_up, "")))
    if not found.users:
        found.users.append({"name": PLACEHOLDER, "secretRef": {"name": f"{name}-{PLACEHOLDER}"}})
        message = f"No login is here: give --userlist FILE, or put yours in place of {PLACEHOLDER} in spec.users."
        result.remark(ini.place("auth_file"), message)
    return found


def look_up(ini: IniFile, found: Logins, entries: Iterable[ListedLogin], databases: list[str], spec: Body) -> None:
    """spec.authQuery, if the file has auth_user."""
    login, place = ini.setting("auth_user"), ini.place("auth_user")
    if not login:
        if ini.setting("auth_query"):
            found.result.remark(ini.place("auth_query"), "auth_query has no effect without auth_user.")
        return
    entry = next((each for each in entries if each.login == login), ListedLogin(place, login, ""))
    wanted = ini.setting("auth_dbname")
    spec["authQuery"] = {
        "secretRef": {"name": found.add(entry, user=False)},
        "database": wanted if wanted in databases else databases[0],
    }
    message = (
        "auth_query becomes spec.authQuery with the function pgbouncer.lookup: run the SQL that "
        "`pgbouncer-operator auth-query-sql` prints."
    )
    found.result.remark(ini.place("auth_query", "auth_user"), message)


def _forced(line: Line, login: str, found: Logins, known: dict[str, ListedLogin]) -> None:
    own = ListedLogin(line.place, login, line.members.get("password", ""))
    found.add(known.get(login, own) if not own.password else own)
    message = f"{line.name} logs every client in as {login!r}, which a pool does not: let the clients log in as that."
    found.result.remark(line.place, message)


def _of_user(line: Line, found: Logins, known: dict[str, ListedLogin]) -> None:
    """An entry of [users]."""
    name = found.add(known.get(line.name, ListedLogin(line.place, line.name, "")))
    user = next(each for each in found.users if each["secretRef"]["name"] == name)
    if cap := count(line.members.get("max_user_connections")):
        user["serverConnections"] = {"max": cap}
    for key in sorted(line.members.keys() - _OF_USERS):
        message = f"{key} of the user {line.name!r} is left out: a pool has no such setting of a login."
        found.result.remark(line.place, message)


def _settings(ini: IniFile, found: Logins) -> None:
    """Settings about all logins."""
    if cap := count(ini.setting("max_user_connections")):
        for user in found.users:
            user.setdefault("serverConnections", {"max": cap})
    kind = ini.setting("auth_type")
    if kind in _WITHOUT_PASSWORD:
        message = f"auth_type {kind} is left out: clients of a pool log in with the password of the login."
        found.result.remark(ini.place("auth_type"), message)
