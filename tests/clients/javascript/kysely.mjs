import { Kysely, PostgresDialect, sql } from "kysely";
import pg from "pg";

import { CLIENT, LIFETIME, run, URL } from "./protocol.mjs";

const on = (db) => ({
  twice: async (n) => (await db.selectFrom("number").select("twice").where("n", "=", n).executeTakeFirstOrThrow()).twice,
  insert: (step, n) => db.insertInto("witness").values({ client: CLIENT, step, n }).execute(),
  pid: async () => (await sql`select pg_backend_pid() as pid`.execute(db)).rows[0].pid,
});

await run(() => {
  const pool = new pg.Pool({ connectionString: URL, maxLifetimeSeconds: LIFETIME });
  pool.on("error", () => {}); // as in pg.mjs
  const db = new Kysely({ dialect: new PostgresDialect({ pool }) });
  return {
    ...on(db),
    transaction: (work) => db.transaction().execute((t) => work(on(t))),
    close: () => db.destroy(),
  };
});
