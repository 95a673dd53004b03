"""The SQL for `authQuery`: a role and a function with which PgBouncer looks up logins in PostgreSQL. Pure.

The function returns a login's name and SCRAM verifier, or no row. Only a superuser may read verifiers, so the function
runs with the rights of its owner. Its fixed search_path prevents a caller from substituting objects of their own.
https://www.postgresql.org/docs/current/sql-createfunction.html (Writing SECURITY DEFINER Functions Safely)
"""

import re

ROLE = "pgbouncer_lookup"
SCHEMA = "pgbouncer"
FUNCTION = "lookup"
_SCHEMA = re.compile("[a-z_][a-z0-9_]{0,62}")  # the pattern of authQuery.function

_TEMPLATE = """\
-- Lets one role look up logins for PgBouncer. Run it as a superuser, in the database that authQuery.database names.
-- Running it again does no harm. A new role has no password: set the one of the Secret that authQuery.secretRef names.
BEGIN;

DO {tag}
BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = {role_text}) THEN
    CREATE ROLE {role} LOGIN NOINHERIT;
  END IF;
  EXECUTE pg_catalog.format('GRANT CONNECT ON DATABASE %I TO %I', pg_catalog.current_database(), {role_text});
END
{tag};

CREATE SCHEMA IF NOT EXISTS {schema};

-- No superusers, no replication roles, nobody whose password has expired. A role without a password cannot log in.
CREATE OR REPLACE FUNCTION {schema}.{function}(login text, OUT username text, OUT verifier text) RETURNS SETOF record
LANGUAGE sql STABLE STRICT SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS {body}
  SELECT a.rolname::text, a.rolpassword
  FROM pg_catalog.pg_authid AS a
  WHERE a.rolname = login
    AND a.rolcanlogin AND NOT a.rolsuper AND NOT a.rolreplication
    AND (a.rolvaliduntil IS NULL OR a.rolvaliduntil > pg_catalog.now())
{body};

REVOKE ALL ON FUNCTION {schema}.{function}(text) FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {role};
GRANT EXECUTE ON FUNCTION {schema}.{function}(text) TO {role};

COMMIT;

-- A role whose password was set with password_encryption = 'md5' has no SCRAM verifier, so PgBouncer refuses it.
DO $md5$
DECLARE
  refused text;
BEGIN
  SELECT string_agg(pg_catalog.quote_ident(rolname), ', ' ORDER BY rolname) INTO refused
  FROM pg_catalog.pg_authid
  WHERE rolcanlogin AND NOT rolsuper AND NOT rolreplication AND rolpassword LIKE 'md5%';
  IF refused IS NOT NULL THEN
    RAISE WARNING 'PgBouncer refuses roles whose passwords are stored as md5: %', refused
      USING HINT = 'Set password_encryption to scram-sha-256, and then set the password of each of these roles again.';
  END IF;
END
$md5$;
"""


def install(role: str = ROLE, schema: str = SCHEMA) -> str:
    """SQL that creates the role and the function `<schema>.lookup`. It may be run again.

    Raises ValueError for a name that is empty, too long or not allowed: PostgreSQL truncates long names, and the
    truncated name may be that of another role.
    """
    if not _SCHEMA.fullmatch(schema):
        raise ValueError("the schema must be lower-case letters, digits and '_', as authQuery.function takes it")
    if not 1 <= len(role.encode()) <= 63 or "\x00" in role:
        raise ValueError("the role's name must have 1 to 63 bytes")
    return _TEMPLATE.format(
        role=_identifier(role),
        role_text=_literal(role),
        schema=_identifier(schema),
        function=_identifier(FUNCTION),
        tag=_tag(role),
        body="$function$",
    )


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    """A string constant with one meaning, whatever standard_conforming_strings is."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"E'{escaped}'" if "\\" in text else f"'{escaped}'"


def _tag(text: str) -> str:
    """A dollar quote that does not occur in the text."""
    tag = "do"
    while f"${tag}$" in text:
        tag += "_"
    return f"${tag}$"
