import { DataSource, EntitySchema } from "typeorm";

import { CLIENT, run, URL } from "./protocol.mjs";

const Doubled = new EntitySchema({
  name: "Doubled",
  tableName: "number",
  columns: { n: { type: Number, primary: true }, twice: { type: Number } },
});
const Witness = new EntitySchema({
  name: "Witness",
  tableName: "witness",
  columns: {
    id: { type: "bigint", primary: true, generated: "increment" },
    client: { type: String },
    step: { type: String },
    n: { type: Number },
  },
});

const on = (manager) => ({
  twice: async (n) => (await manager.findOneByOrFail(Doubled, { n })).twice,
  insert: async (step, n) => void (await manager.insert(Witness, { client: CLIENT, step, n })),
  pid: async () => (await manager.query("select pg_backend_pid() as pid"))[0].pid,
});

await run(() => {
  const source = new DataSource({ type: "postgres", url: URL, entities: [Doubled, Witness] });
  const ready = source.initialize();
  ready.catch(() => {});
  return {
    twice: async (n) => on((await ready).manager).twice(n),
    insert: async (step, n) => on((await ready).manager).insert(step, n),
    transaction: async (work) => (await ready).transaction((manager) => work(on(manager))),
    close: async () => (await ready).destroy(),
  };
});
