"""What one pod's configuration is made of, and whether PgBouncer can be given it. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pgbouncer_operator.pgbouncer.parameters as parameters
from pgbouncer_operator import naming
from pgbouncer_operator.pgbouncer.characters import unfit
from pgbouncer_operator.pgbouncer.syntax import CompositionError
from pgbouncer_operator.protocol.intent import SYSTEM_CA, DatabaseIntent, Intent

# Names that mean something of their own to PgBouncer: its console and its console's user.
CONSOLE = "pgbouncer"
# The entry that logins are looked up through: one connection of its own, so that a busy pool lets people in.
LOOKUP = "pgbouncer-lookup"


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user as PgBouncer knows it. max: most server connections of this login in this pod, None for no own limit."""

    login: str
    password: str = field(repr=False)
    max: int | None = None


@dataclass(frozen=True, slots=True)
class Peer:
    """Another pod of the pool, to which cancel requests are forwarded. host: an IP address."""

    id: int
    host: str
    port: int = naming.PGBOUNCER_PORT


@dataclass(frozen=True, slots=True)
class Paths:
    """Where the files are. run: the directory of ini, userlist, hba and Unix socket. Absolute, without a last slash."""

    run: str = naming.RUN_DIR
    ca: str = naming.CA_DIR
    system_ca: str = naming.SYSTEM_CA_FILE

    @property
    def certificate(self) -> str:
        """The certificate shown to clients."""
        return f"{self.run}/tls/{naming.TLS_KEYS[0]}"

    @property
    def key(self) -> str:
        """Its private key."""
        return f"{self.run}/tls/{naming.TLS_KEYS[1]}"

    @property
    def ini(self) -> str:
        """The configuration file."""
        return f"{self.run}/pgbouncer.ini"

    @property
    def userlist(self) -> str:
        """The file of logins and passwords."""
        return f"{self.run}/userlist.txt"

    @property
    def hba(self) -> str:
        """The file that says who may log in from where."""
        return f"{self.run}/hba.conf"


@dataclass(frozen=True, slots=True)
class Composition:
    """Everything one pod's configuration is made of.

    shares: server connections of each database in this pod, as `grants.split` gives them; their sum is the pod's cap.
    seq: the ledger's sequence. logins: retired ones too, with a password nobody knows. credentials: the generations
    of the users' Secrets, never their content. stats_user: a random name that probes log in with; from 127.0.0.1 it
    needs no password, but userlist.txt must list it. listen: False for a throw-away process, which gets a Unix socket
    only. peer_id: 1..16383, 0 for none. lingering: databases that the intent has no more, for the clients still there.
    lookup: the login that looks up others, "" while it is not known.
    """

    intent: Intent
    shares: Mapping[str, int]
    seq: int
    logins: tuple[UserEntry, ...]
    credentials: str
    stats_user: str
    paths: Paths = Paths()
    listen: bool = True
    port: int = naming.PGBOUNCER_PORT
    peer_id: int = 0
    peers: tuple[Peer, ...] = ()
    lingering: tuple[DatabaseIntent, ...] = ()
    lookup: str = ""
    version: str = parameters.VERSION

    @property
    def cap(self) -> int:
        """Most server connections of this pod."""
        return sum(self.shares.values())

    @property
    def databases(self) -> tuple[DatabaseIntent, ...]:
        """Every entry of `[databases]`."""
        return entries(self.intent, self.lingering)

    @property
    def ca_file(self) -> str:
        """The file PostgreSQL's certificate is checked against, or "" for none."""
        ca = self.intent.server_tls.ca
        if not ca:
            return ""
        return self.paths.system_ca if ca == SYSTEM_CA else f"{self.paths.ca}/{ca}"


def entries(intent: Intent, lingering: tuple[DatabaseIntent, ...] = ()) -> tuple[DatabaseIntent, ...]:
    """The intent's databases, those on their way out, and the one that logins are looked up through."""
    query = intent.auth_query
    found = next((each for each in intent.databases if query and each.name == query.database), None)
    lookup = () if found is None else (replace(found, name=LOOKUP, pool_mode="transaction", max=1),)
    return (*intent.databases, *lingering, *lookup)


def check(composition: Composition) -> None:
    """CompositionError, naming the field, when a name, a number or an address is not one PgBouncer can be given."""
    _check_stats_user(composition)
    _check_logins(composition)
    for database in composition.databases:
        _check_database(composition, database)
    _refuse_twins("databases", [each.name for each in composition.databases])
    query = composition.intent.auth_query
    if query is not None and LOOKUP not in {each.name for each in composition.databases}:
        raise CompositionError(f"auth_query.database {query.database!r} is not one of the databases")
    for peer in composition.peers:
        if not 1 <= peer.id <= parameters.MAX_PEER_ID:
            raise CompositionError(f"peers[{peer.id}] must be numbered from 1 to {parameters.MAX_PEER_ID}")
        _check_host(peer.host, f"peers[{peer.id}].host")
    _refuse_twins("peers", [str(each.id) for each in composition.peers])


def _check_stats_user(composition: Composition) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", composition.stats_user):
        raise CompositionError("stats_user must be lower case letters, digits and underscores, at most 63")


def _check_logins(composition: Composition) -> None:
    most = parameters.MAX_LOGIN_BYTES
    for each in composition.logins:
        where = f"logins[{each.login!r}]"
        _check_name(each.login, where, most)
        if each.login in (composition.stats_user, CONSOLE):
            raise CompositionError(f"{where} is a user of PgBouncer's own console: use another role name")
        if each.max is not None:
            _check_limit(each.max, f"{where}.max")
    _refuse_twins("logins", [each.login for each in composition.logins])


def _check_database(composition: Composition, database: DatabaseIntent) -> None:
    where = f"databases[{database.name!r}]"
    most = parameters.MAX_DATABASE_BYTES
    _check_name(database.name, f"{where}.name", most)
    if database.name in (CONSOLE, "*"):
        raise CompositionError(f"{where}.name has a meaning of its own to PgBouncer: choose another name")
    _check_name(database.dbname, f"{where}.dbname", most, quotable=True)
    _check_host(database.host, f"{where}.host")
    if not 1 <= database.port <= 65535:
        raise CompositionError(f"{where}.port is {database.port}, it must be from 1 to 65535")
    if database.name not in composition.shares:
        raise CompositionError(f"{where} has no share of the pod's server connections")
    _check_limit(composition.shares[database.name], f"the share of {where}")


def _check_name(name: str, where: str, most: int, quotable: bool = False) -> None:
    found = unfit(name)
    if found is not None:
        raise CompositionError(f"{where} holds {found}: remove it")
    if not 1 <= len(name.encode()) <= most:
        raise CompositionError(f"{where} must have 1 to {most} bytes: choose another name")
    if "'" in name and not quotable:
        raise CompositionError(f"{where} holds a single quote, for which PgBouncer has no escape: choose another name")


def _check_host(host: str, where: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9._:-]{1,253}", host):
        raise CompositionError(f"{where} {host!r} is neither a DNS name nor an IP address")


def _check_limit(number: int, where: str) -> None:
    if number < 1:
        raise CompositionError(f"{where} is {number}, it must be at least 1: PgBouncer reads 0 as unlimited")


def _refuse_twins(what: str, names: list[str]) -> None:
    for name in {each for each in names if names.count(each) > 1}:
        raise CompositionError(f"{what} has {name!r} twice: PgBouncer would use the last one")
