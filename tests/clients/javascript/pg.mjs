import pg from "pg";

import { CLIENT, LIFETIME, run, URL } from "./protocol.mjs";

const TWICE = "select twice from number where n = $1";
const INSERT = "insert into witness (client, step, n) values ($1, $2, $3)";

const on = (connection) => ({
  twice: async (n) => (await connection.query(TWICE, [n])).rows[0].twice,
  insert: (step, n) => connection.query(INSERT, [CLIENT, step, n]),
  pid: async () => (await connection.query("select pg_backend_pid() as pid")).rows[0].pid,
});

await run(() => {
  const pool = new pg.Pool({ connectionString: URL, maxLifetimeSeconds: LIFETIME });
  pool.on("error", () => {}); // a connection that was closed while idle; without a listener the process ends
  return {
    ...on(pool),
    async transaction(work) {
      const connection = await pool.connect();
      let broken;
      try {
        connection.once("error", (error) => (broken = error));
        await connection.query("begin");
        const result = await work(on(connection));
        await connection.query("commit");
        return result;
      } catch (error) {
        await connection.query("rollback").catch((unable) => (broken = unable));
        throw error;
      } finally {
        connection.release(broken);
      }
    },
    prepared: async (n) => (await pool.query({ name: "twice", text: TWICE, values: [n] })).rows[0].twice,
    preparedCount: async () => (await pool.query("select count(*)::int from pg_prepared_statements")).rows[0].count,
    close: () => pool.end(),
  };
});
