import knex from "knex";

import { CLIENT, run, URL } from "./protocol.mjs";

const on = (db) => ({
  twice: async (n) => (await db("number").where({ n }).first("twice")).twice,
  insert: async (step, n) => void (await db("witness").insert({ client: CLIENT, step, n })),
  pid: async () => (await db.raw("select pg_backend_pid() as pid")).rows[0].pid,
});

await run(() => {
  const db = knex({ client: "pg", connection: URL });
  return {
    ...on(db),
    transaction: (work) => db.transaction((t) => work(on(t))),
    close: () => db.destroy(),
  };
});
