// SINGLETON: no makes a client for each call, as a function does that keeps none.
import { PrismaPg } from "@prisma/adapter-pg";
import { PrismaClient } from "./node_modules/generated-client/index.js";

import { CLIENT, LIFETIME, run, URL } from "./protocol.mjs";

const on = (prisma) => ({
  twice: async (n) => (await prisma.number.findUniqueOrThrow({ where: { n } })).twice,
  insert: (step, n) => prisma.witness.create({ data: { client: CLIENT, step, n } }),
  pid: async () => (await prisma.$queryRaw`select pg_backend_pid() as pid`)[0].pid,
});

const connect = () => new PrismaClient({ adapter: new PrismaPg({ connectionString: URL, maxLifetimeSeconds: LIFETIME }) });

const one = () => {
  const prisma = connect();
  return {
    ...on(prisma),
    transaction: (work) => prisma.$transaction((t) => work(on(t))),
    close: () => prisma.$disconnect(),
  };
};

const each = () => {
  const once = async (work) => {
    const prisma = connect();
    try {
      return await work(prisma);
    } finally {
      await prisma.$disconnect();
    }
  };
  return {
    twice: (n) => once((prisma) => on(prisma).twice(n)),
    insert: (step, n) => once((prisma) => on(prisma).insert(step, n)),
    transaction: (work) => once((prisma) => prisma.$transaction((t) => work(on(t)))),
    close: async () => {},
  };
};

await run(process.env.SINGLETON === "no" ? each : one);
