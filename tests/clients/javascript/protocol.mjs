// The cases of cases.toml for clients in JavaScript. A program hands over how it makes its client:
//
//   make()               an instance, with what it does by default, that has
//   twice(n)             a query with a parameter: the double of n
//   insert(step, n)      one row of `witness`
//   transaction(work)    work(t) in one transaction, t.twice, t.insert and t.pid; a rejection rolls back
//   prepared(n)          as twice, by a prepared statement, if the client has them; preparedCount() after it
//   close()
import { setTimeout as sleep } from "node:timers/promises";

export const CLIENT = process.env.CLIENT;
export const URL = process.env.DATABASE_URL;
export const LIFETIME = process.env.LIFETIME && Number(process.env.LIFETIME); // seconds of a connection, if it is set

class OnPurpose extends Error {}

export async function run(make) {
  const shared = ["defaults", "prepared", "transaction", "rollback", "interactive"];
  const wanted = process.argv.slice(2);
  const instance = wanted.some((step) => shared.includes(step)) ? make() : undefined;
  for (const step of wanted) {
    try {
      say(step, { ok: true, ...(await cases[step](instance, make)) });
    } catch (error) {
      say(step, { ok: false, error: words(error) });
    }
  }
  await instance?.close();
  process.exit(0);
}

const cases = {
  async defaults(instance) {
    await workers(8, async (worker) => {
      for (let round = 0; round < 25; round++) {
        const n = worker * 25 + round + 1;
        equal(await instance.twice(n), 2 * n);
      }
    });
  },

  async prepared(instance) {
    const counts = await workers(8, async (worker) => {
      for (let round = 0; round < 10; round++) equal(await instance.prepared(worker + round + 1), 2 * (worker + round + 1));
      return instance.preparedCount();
    });
    if (Math.max(...counts) === 0) throw new Error("PostgreSQL has no prepared statement");
  },

  async transaction(instance) {
    await workers(8, (worker) =>
      instance.transaction(async (t) => {
        await t.insert("transaction", worker);
        await t.insert("transaction", worker);
      }),
    );
  },

  async rollback(instance) {
    await workers(8, async (worker) => {
      try {
        await instance.transaction(async (t) => {
          await t.insert("rollback", worker);
          throw new OnPurpose("on purpose");
        });
        throw new Error("the transaction was committed");
      } catch (error) {
        if (!(error instanceof OnPurpose)) throw error;
      }
      equal(await instance.twice(worker + 1), 2 * (worker + 1));
    });
  },

  async interactive(instance) {
    await workers(4, (worker) =>
      instance.transaction(async (t) => {
        const pid = await t.pid();
        const value = await t.twice(worker + 1);
        await sleep(20);
        await t.insert("interactive", value);
        equal(await t.pid(), pid);
      }),
    );
  },

  async instances(_, make) {
    await workers(10, async () => {
      for (let round = 0; round < 10; round++) await once(make, "instances", round);
    });
  },

  async cold(_, make) {
    await make().insert("cold", 1);
  },

  async roll(_, make) {
    let done = 0, failed = 0, last = "", going = true;
    process.stdin.resume().on("end", () => (going = false));
    const instance = make();
    const steps = ["not begun", "not begun", "not begun", "not begun"]; // of each worker's transaction
    const all = workers(4, async (worker) => {
      while (going) {
        try {
          steps[worker] = "begins";
          await instance.transaction(async (t) => {
            steps[worker] = "inserts";
            await t.insert("roll", worker);
            steps[worker] = "commits";
          });
          done++;
        } catch (error) {
          failed++;
          last = words(error);
        }
        steps[worker] = "";
        await sleep(40);
      }
    });
    while (going) await sleep(50);
    await Promise.race([all, sleep(30_000)]);
    const hang = steps.filter(Boolean);
    if (hang.length) throw new Error(`${hang.length} of 4 transactions never end: ${hang.join(", ")}; ${done} done, ${failed} failed`);
    const closed = instance.close().then(() => true);
    if (!(await Promise.race([closed, sleep(20_000)]))) throw new Error("afterwards its pool does not close");
    return { done, failed, error: last };
  },
};

async function once(make, step, n) {
  const instance = make();
  try {
    await instance.insert(step, n);
  } finally {
    await instance.close();
  }
}

function workers(count, work) {
  return Promise.all(Array.from({ length: count }, (_, number) => work(number)));
}

function equal(found, wanted) {
  if (Number(found) !== Number(wanted)) throw new Error(`${found} instead of ${wanted}`);
}

function words(error) {
  const cause = error?.cause ?? error?.parent ?? error;
  return String(cause?.message || cause?.errors?.[0]?.message || cause?.code || cause).split("\n").filter(Boolean).pop() ?? "";
}

function say(step, line) {
  process.stdout.write(`${JSON.stringify({ case: step, ...line })}\n`);
}
