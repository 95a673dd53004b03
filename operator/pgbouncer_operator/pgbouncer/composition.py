"""The parts of one pod's configuration, and the checks that PgBouncer does not make itself. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pgbouncer_operator.pgbouncer.parameters as parameters
from pgbouncer_operator import naming
from pgbouncer_operator.pgbouncer.characters import unfit
from pgbouncer_operator.pgbouncer.syntax import CompositionError
from pgbouncer_operator.protocol.intent import SYSTEM_CA, DatabaseIntent, Intent

# PgBouncer's console: the name of its database and of its user.
CONSOLE = "pgbouncer"
# The database entry through which PgBouncer looks up logins. It has its own connection, so that clients of a busy pool
# can log in.
LOOKUP = "pgbouncer-lookup"

# Files that clients must leave. PgBouncer has 9 open at rest (listeners, log, epoll, pipes). Sessions of console and
# probe take one each. A cancel request takes two for a moment, also one that goes on to a peer. A login takes one until
# it counts as a client. So about 50 are left for logins and cancel requests at the same time.
RESERVED_FILES = 64


@dataclass(frozen=True, slots=True)
class UserEntry:
    """A user of PgBouncer."""

    login: str
    password: str = field(repr=False)
    max: int | None = None
    """Most server connections of this login in this pod; None for no limit of its own."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Another pod of the pool, to which cancel requests are forwarded. host: an IP address."""

    id: int
    host: str
    port: int = naming.PGBOUNCER_PORT


@dataclass(frozen=True, slots=True)
class Paths:
    """Absolute paths of the files, without a slash at the end."""

    run: str = naming.RUN_DIR
    """Directory of pgbouncer.ini, userlist.txt, hba.conf and the Unix socket."""
    ca: str = naming.CA_DIR
    """Directory of the CA that the spec names."""
    system_ca: str = naming.SYSTEM_CA_FILE
    """File of the public CAs."""

    @property
    def certificate(self) -> str:
        """File of the certificate for clients."""
        return f"{self.run}/tls/{naming.TLS_KEYS[0]}"

    @property
    def key(self) -> str:
        """File of the certificate's private key."""
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
        """The file of the rules for logins."""
        return f"{self.run}/hba.conf"


@dataclass(frozen=True, slots=True)
class Composition:
    """Everything that one pod's configuration depends on."""

    intent: Intent
    """What all pods of the pool have in common."""
    shares: Mapping[str, int]
    """Server connections of each database in this pod, as `grants.split` gives them. Their sum is the pod's cap."""
    seq: int
    """Sequence number of the ledger that the shares come from."""
    logins: tuple[UserEntry, ...]
    """All users, and removed ones with a random password: PgBouncer would let those log in with SCRAM otherwise."""
    credentials: str
    """Generations of the users' Secrets; never their content."""
    stats_user: str
    """Random name for the probes' login. It needs no password from 127.0.0.1, but userlist.txt must list it."""
    paths: Paths = Paths()
    """Where the files of this pod lie."""
    listen: bool = True
    """False for the process that proves a candidate, which has a Unix socket only."""
    port: int = naming.PGBOUNCER_PORT
    """The TCP port that PgBouncer listens on."""
    peer_id: int = 0
    """This pod's number among the peers, from 1 to 16383; 0 for a pod without peers."""
    peers: tuple[Peer, ...] = ()
    """All peers of the pool, this pod included; empty for a pod without peers."""
    lingering: tuple[DatabaseIntent, ...] = ()
    """Databases that are removed from the intent and still have clients."""
    lookup: str = ""
    """The login with which PgBouncer looks up other logins; empty if there is none or it is unknown."""
    version: str = parameters.VERSION
    """Version of PgBouncer in this pod."""
    open_files: int = 0
    """The most files that PgBouncer may open in this pod; 0 while it is unknown."""

    @property
    def cap(self) -> int:
        """Most server connections of this pod: the sum of the shares."""
        return sum(self.shares.values())

    @property
    def clients_wanted(self) -> int:
        """Clients that this pod accepts where the open files suffice: the pool's max_client_conn, or our default."""
        row = parameters.lookup("max_client_conn")
        assert row is not None, "the catalogue has it"
        return int(self.intent.settings.get(row.name, row.ours or 0))

    @property
    def clients(self) -> int:
        """Clients that this pod accepts. Each takes a file, and so do server connections, console and probe."""
        if not self.open_files:
            return self.clients_wanted
        return max(1, min(self.clients_wanted, self.open_files - self.cap - RESERVED_FILES))

    @property
    def databases(self) -> tuple[DatabaseIntent, ...]:
        """Every entry of `[databases]`."""
        return entries(self.intent, self.lingering)

    @property
    def ca_file(self) -> str:
        """File of the CA that PostgreSQL's certificate is verified with; empty for none."""
        ca = self.intent.server_tls.ca
        if not ca:
            return ""
        return self.paths.system_ca if ca == SYSTEM_CA else f"{self.paths.ca}/{ca}"


def entries(intent: Intent, lingering: tuple[DatabaseIntent, ...] = ()) -> tuple[DatabaseIntent, ...]:
    """The entries of `[databases]`: the intent's, the lingering ones, and the one for look-ups of logins."""
    query = intent.auth_query
    target = next((each for each in intent.databases if query and each.name == query.database), None)
    lookup = () if target is None else (replace(target, name=LOOKUP, pool_mode="transaction", max=1),)
    return (*intent.databases, *lingering, *lookup)


def check(composition: Composition) -> None:
    """Raise CompositionError, which names the field, if PgBouncer cannot use a name, a number or an address."""
    _check_stats_user(composition)
    _check_logins(composition)
    for database in composition.databases:
        _check_database(composition, database)
    _refuse_duplicates("databases", [each.name for each in composition.databases])
    query = composition.intent.auth_query
    if query is not None and LOOKUP not in {each.name for each in composition.databases}:
        raise CompositionError(f"auth_query.database {query.database!r} is not one of the databases")
    for peer in composition.peers:
        if not 1 <= peer.id <= parameters.MAX_PEER_ID:
            raise CompositionError(f"peers[{peer.id}] must be numbered from 1 to {parameters.MAX_PEER_ID}")
        _check_host(peer.host, f"peers[{peer.id}].host")
    _refuse_duplicates("peers", [str(each.id) for each in composition.peers])


def _check_stats_user(composition: Composition) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,62}", composition.stats_user):
        raise CompositionError("stats_user must be lower case letters, digits and underscores, at most 63")


def _check_logins(composition: Composition) -> None:
    most = parameters.MAX_LOGIN_BYTES
    for each in composition.logins:
        where = f"logins[{each.login!r}]"
        _check_name(each.login, where, most)
        if each.login == composition.stats_user:
            raise CompositionError(f"{where} is the pod's own user of PgBouncer's console: use another role name")
        if each.max is not None:
            _check_limit(each.max, f"{where}.max")
    _refuse_duplicates("logins", [each.login for each in composition.logins])


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
    fault = unfit(name)
    if fault is not None:
        raise CompositionError(f"{where} holds {fault}: remove it")
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


def _refuse_duplicates(what: str, names: list[str]) -> None:
    for name in {each for each in names if names.count(each) > 1}:
        raise CompositionError(f"{what} has {name!r} twice: PgBouncer would use the last one")
