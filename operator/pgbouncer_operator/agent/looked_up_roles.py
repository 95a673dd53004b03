"""Which looked-up roles PgBouncer cannot let in, because PostgreSQL stores their passwords as md5.

PgBouncer verifies a client by SCRAM and needs a SCRAM verifier for that. It says why it refuses a role only in its log.
SHOW USERS has every role that the function of authQuery has found, and no name for which it found nothing. So a client
adds no name of its own choice. PostgreSQL itself compares the verifiers: none reaches the agent.
"""

import contextlib
import json
import time
from collections.abc import Collection
from dataclasses import dataclass

from pgbouncer_operator.agent import console, pooled_query
from pgbouncer_operator.agent.console import CommandRefused, Unreachable
from pgbouncer_operator.agent.pooled_query import DatabaseLogin
from pgbouncer_operator.agent.settings import AgentSettings

PAUSE_SECONDS = 10.0  # between two questions, however many clients log in
MOST_ASKED = 1000  # roles in one question
# $1: names of roles as a JSON array. A verifier is compared as PgBouncer does it.
# https://github.com/pgbouncer/pgbouncer/blob/master/src/util.c (get_password_type)
_MD5_ROLES = (
    "SELECT wanted.name FROM pg_catalog.json_array_elements_text($1::pg_catalog.json) AS wanted(name),"
    " LATERAL {function}(wanted.name) AS found(role, verifier)"
    " WHERE found.verifier OPERATOR(pg_catalog.~) '^md5[0-9a-f]{{32}}$' ORDER BY 1"
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of PostgreSQL, and as whom."""

    login: DatabaseLogin
    """The role that looks up logins, in authQuery.database."""
    function: str
    """authQuery.function: schema and name, checked by the API's pattern."""
    listed: Collection[str]
    """Roles of PgBouncer's own files, which it does not look up."""
    subject: str
    """Which servers, databases and logins this concerns; another value needs another answer."""


@dataclass(frozen=True, slots=True)
class Md5Roles:
    """The last answer."""

    names: tuple[str, ...] = ()
    """Roles with md5 passwords, sorted."""
    lookups: int = 0
    """How often PgBouncer had looked up a login when this was asked."""
    subject: str = ""
    """See Question."""
    asked: float = float("-inf")
    """When it was asked; monotonic seconds."""

    def due(self, subject: str, lookups: int, now: float) -> bool:
        """Whether to ask: PgBouncer has looked up a login since. At rest nothing is asked. now: monotonic seconds."""
        return (subject, lookups) != (self.subject, self.lookups) and now >= self.asked + PAUSE_SECONDS


def ask(settings: AgentSettings, question: Question, last: Md5Roles, lookups: int) -> Md5Roles:
    """Ask PostgreSQL about all roles that PgBouncer has looked up. Where it does not answer, the last names stay."""
    names, asked = last.names if last.subject == question.subject else (), time.monotonic()
    with contextlib.suppress(Unreachable, CommandRefused):
        users = [each for each in console.users(settings) if each not in question.listed]
        found = _md5(settings, question, users[:MOST_ASKED])
        names = names if found is None else found
    return Md5Roles(names, lookups, question.subject, asked)


def _md5(settings: AgentSettings, question: Question, roles: list[str]) -> tuple[str, ...] | None:
    """Those of the roles that have md5 passwords; None when PostgreSQL does not say."""
    if not roles:
        return ()
    query, names = _MD5_ROLES.format(function=question.function), json.dumps(roles)
    answer = pooled_query.ask(str(settings.run_dir), settings.port, question.login, query, names)
    return None if answer.refused else tuple(row[0] for row in answer.rows)
