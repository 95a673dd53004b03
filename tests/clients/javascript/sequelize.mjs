import { DataTypes, QueryTypes, Sequelize } from "sequelize";

import { CLIENT, run, URL } from "./protocol.mjs";

await run(() => {
  const sequelize = new Sequelize(URL, { logging: false });
  const options = { timestamps: false, freezeTableName: true };
  const Doubled = sequelize.define("number", { n: { type: DataTypes.INTEGER, primaryKey: true }, twice: DataTypes.INTEGER }, options);
  const Witness = sequelize.define("witness", { client: DataTypes.TEXT, step: DataTypes.TEXT, n: DataTypes.INTEGER }, options);
  const on = (transaction) => ({
    twice: async (n) => (await Doubled.findByPk(n, { transaction })).twice,
    insert: async (step, n) => void (await Witness.create({ client: CLIENT, step, n }, { transaction })),
    pid: async () =>
      (await sequelize.query("select pg_backend_pid() as pid", { transaction, type: QueryTypes.SELECT }))[0].pid,
  });
  return {
    ...on(undefined),
    transaction: (work) => sequelize.transaction((transaction) => work(on(transaction))),
    close: () => sequelize.close(),
  };
});
