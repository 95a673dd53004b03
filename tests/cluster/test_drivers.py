"""Real drivers with their default settings, prepared statements on, through a pool in transaction mode.

The password is as bad as passwords get, and every URL comes from a connection Secret.
"""

import json
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.cluster import programs
from tests.cluster.pools import Namespace, pool

POOL = "drivers"
MOST = 4
CLIENTS, ROUNDS = 12, 25

PSYCOPG = f"""
import asyncio, os, psycopg
async def client(number):
    async with await psycopg.AsyncConnection.connect(os.environ["URL"], autocommit=True) as connection:
        for step in range({ROUNDS}):
            cursor = await connection.execute("SELECT %s::int + %s::int", (number, step))
            assert await cursor.fetchone() == (number + step,)
        prepared = await (await connection.execute("SELECT count(*) FROM pg_prepared_statements")).fetchone()
        return prepared[0]
async def main():
    prepared = await asyncio.gather(*(client(number) for number in range({CLIENTS})))
    assert max(prepared) > 0, "nothing was prepared"
    print("all right")
asyncio.run(main())
"""
ASYNCPG = f"""
import asyncio, os, asyncpg
async def client(number):
    connection = await asyncpg.connect(os.environ["URL"])
    for step in range({ROUNDS}):
        assert await connection.fetchval("SELECT $1::int + $2::int", number, step) == number + step
        async with connection.transaction():
            assert await connection.fetchval("SELECT $1::int * 2", step) == step * 2
    prepared = await connection.fetchval("SELECT count(*) FROM pg_prepared_statements")
    await connection.close()
    return prepared
async def main():
    assert max(await asyncio.gather(*(client(number) for number in range({CLIENTS})))) > 0, "nothing was prepared"
    print("all right")
asyncio.run(main())
"""
NODE = f"""
const {{ Client }} = require("pg");
async function client(number) {{
  const connection = new Client({{ connectionString: process.env.URL }});
  await connection.connect();
  for (let step = 0; step < {ROUNDS}; step++) {{
    const named = {{ name: "sum", text: "SELECT $1::int + $2::int AS sum", values: [number, step] }};
    const {{ rows }} = await connection.query(named);
    if (rows[0].sum !== number + step) throw new Error("wrong sum");
  }}
  const {{ rows }} = await connection.query("SELECT count(*)::int AS prepared FROM pg_prepared_statements");
  await connection.end();
  return rows[0].prepared;
}}
Promise.all([...Array({CLIENTS}).keys()].map(client)).then((prepared) => {{
  if (Math.max(...prepared) === 0) throw new Error("nothing was prepared");
  console.log("all right");
}}).catch((error) => {{ console.error(error); process.exit(1); }});
"""
# psql by the URL, and by libpq's variables alone.
PSQL = [
    "psql",
    "$(URL)",
    "-XAtc",
    "SELECT 'all ' || 'right' WHERE current_user = 'shop' AND current_database() = 'shop'",
]
PSQL_ALONE = ["psql", *PSQL[2:]]
# pgjdbc reads URLs of its own; the sources are in the image's directory.
JDBC = [
    "/opt/java/bin/java",
    "-Xmx48m",
    "-XX:+UseSerialGC",
    "-XX:-UsePerfData",
    "-cp",
    "/opt/jdbc:/opt/jdbc/postgresql.jar",
]
PROGRAMS: Mapping[str, list[str]] = {
    "psql": PSQL,
    "psycopg": ["python3", "-c", PSYCOPG],
    "asyncpg": ["python3", "-c", ASYNCPG],
    "node": ["node", "-e", NODE],
}
LIBPQ = ("PGHOST", "PGPORT", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGSSLMODE")


@pytest.fixture(scope="module")
def ready(here: Namespace) -> Namespace:
    here.apply(pool(POOL, MOST))
    here.wait_ready(POOL)
    return here


@pytest.mark.parametrize("driver", PROGRAMS)
@pytest.mark.parametrize("key", ["DATABASE_URL", "uri"])
def test_a_driver_works_through_the_pool(ready: Namespace, driver: str, key: str) -> None:
    body = programs.pod(ready, f"{driver}-pool", PROGRAMS[driver], f"{POOL}-connection", {"URL": key})
    assert programs.output(ready, body).strip() == "all right"


@pytest.mark.parametrize("secret", [f"{POOL}-connection", f"{POOL}-direct"])
def test_pgjdbc_works_with_its_url(ready: Namespace, secret: str) -> None:
    command = [*JDBC, "Jdbc", str(CLIENTS), str(ROUNDS)]
    assert (
        programs.output(ready, programs.pod(ready, "jdbc", command, secret, {"URL": "jdbc-uri"})).strip() == "all right"
    )


@pytest.mark.parametrize("driver", ["psql", "psycopg"])
def test_the_direct_url_leads_straight_to_the_server(ready: Namespace, driver: str) -> None:
    body = programs.pod(ready, f"{driver}-direct", PROGRAMS[driver], f"{POOL}-direct", {"URL": "DIRECT_URL"})
    assert programs.output(ready, body).strip() == "all right"


@pytest.mark.parametrize("secret", [f"{POOL}-connection", f"{POOL}-direct"])
def test_psql_works_with_the_variables_alone(ready: Namespace, secret: str) -> None:
    body = programs.pod(ready, "psql-alone", PSQL_ALONE, secret, {name: name for name in LIBPQ})
    assert programs.output(ready, body).strip() == "all right"


def test_only_the_direct_secret_holds_the_way_around_the_pool(ready: Namespace) -> None:
    pooled, direct = programs.values(ready, f"{POOL}-connection"), programs.values(ready, f"{POOL}-direct")
    assert "DIRECT_URL" not in pooled
    assert "DATABASE_URL" not in direct
    assert pooled["host"] == f"{POOL}.{ready.name}.svc"
    assert direct["host"] == "postgres"
    assert not any("postgres:" in value or "@postgres" in value for value in pooled.values())


def test_the_jdbc_url_says_the_same_as_the_single_keys(ready: Namespace) -> None:
    for secret in (f"{POOL}-connection", f"{POOL}-direct"):
        found = programs.values(ready, secret)
        assert found["password"] == programs.values(ready, "shop-db")["password"]
        scheme, _, rest = found["jdbc-uri"].partition(":")
        url = urlsplit(rest)
        query = {key: value for key, (value,) in parse_qs(url.query, strict_parsing=True).items()}
        assert (scheme, url.scheme, url.hostname) == ("jdbc", "postgresql", found["host"])
        assert (str(url.port), url.path) == (found["port"], f"/{found['database']}")
        assert query["user"] == found["username"]
        assert query["password"] == found["password"]
        assert query.get("sslmode", found["sslmode"]) == found["sslmode"]


def test_a_secret_is_of_the_service_binding_type_and_found_by_the_pools_status(ready: Namespace) -> None:
    assert ready.get("secret", f"{POOL}-connection")["type"] == "servicebinding.io/postgresql"
    status = ready.get("connectionpool", POOL)["status"]
    assert status["binding"]["name"] == f"{POOL}-connection"
    assert f"{POOL}-direct" in json.dumps(status["connectionSecrets"])
