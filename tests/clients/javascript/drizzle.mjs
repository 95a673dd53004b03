// DRIVER: pg (default) or postgres.
import { eq, sql } from "drizzle-orm";
import { bigserial, integer, pgTable, text } from "drizzle-orm/pg-core";

import { CLIENT, LIFETIME, run, URL } from "./protocol.mjs";

const number = pgTable("number", { n: integer().primaryKey(), twice: integer() });
const witness = pgTable("witness", {
  id: bigserial({ mode: "number" }).primaryKey(),
  client: text(),
  step: text(),
  n: integer(),
});
const ofPg = process.env.DRIVER !== "postgres";
const { drizzle } = ofPg ? await import("drizzle-orm/node-postgres") : await import("drizzle-orm/postgres-js");
const rows = (result) => (ofPg ? result.rows : result);

const on = (db) => ({
  twice: async (n) => (await db.select().from(number).where(eq(number.n, n)))[0].twice,
  insert: (step, n) => db.insert(witness).values({ client: CLIENT, step, n }),
  pid: async () => rows(await db.execute(sql`select pg_backend_pid() as pid`))[0].pid,
});

await run(() => {
  const options = ofPg ? { connectionString: URL, maxLifetimeSeconds: LIFETIME } : { url: URL, max_lifetime: LIFETIME };
  const db = drizzle({ connection: options });
  if (ofPg) db.$client.on("error", () => {}); // as in pg.mjs
  const twice = db.select().from(number).where(eq(number.n, sql.placeholder("n"))).prepare("twice");
  return {
    ...on(db),
    transaction: (work) => db.transaction((t) => work(on(t))),
    prepared: async (n) => (await twice.execute({ n }))[0].twice,
    preparedCount: async () => rows(await db.execute(sql`select count(*)::int as count from pg_prepared_statements`))[0].count,
    close: () => db.$client.end(),
  };
});
