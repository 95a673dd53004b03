import postgres from "postgres";

import { CLIENT, LIFETIME, run, URL } from "./protocol.mjs";

const on = (sql) => ({
  twice: async (n) => (await sql`select twice from number where n = ${n}`)[0].twice,
  insert: async (step, n) => void (await sql`insert into witness (client, step, n) values (${CLIENT}, ${step}, ${n})`),
  pid: async () => (await sql`select pg_backend_pid() as pid`)[0].pid,
});

await run(() => {
  const sql = postgres(URL, LIFETIME ? { max_lifetime: LIFETIME } : {});
  return {
    ...on(sql),
    transaction: (work) => sql.begin((t) => work(on(t))),
    prepared: on(sql).twice, // it prepares by default
    preparedCount: async () => (await sql`select count(*)::int as count from pg_prepared_statements`)[0].count,
    close: () => sql.end(),
  };
});
