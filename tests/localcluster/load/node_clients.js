// Clients of node-pg with its default settings: a connection for some transactions, then another.
//
//     node node_clients.js CLIENTS TRANSACTIONS      the URL comes from DATABASE_URL
//
// It prints the lines of load.clients, without latencies and without the numbers of its transactions.
const { Client } = require("pg");

const [clients, transactions] = process.argv.slice(2).map(Number);
const account = {
  done: false, run: "node", connected: 0, most_connected: 0, refused: 0, committed: 0, failed: 0, longest: 0,
  silence: 0, p50: null, p99: null, closed: {}, stages: {}, errors: {}, first: {},
};
const run = `node-${Date.now()}-${Math.random()}`;
let over = false;
process.on("SIGTERM", () => { over = true; });

const pause = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

function blame(stage, error) {
  const told = `${stage}: ${String(error.message).slice(0, 160)}`;
  account.stages[stage] = (account.stages[stage] || 0) + 1;
  account.errors[told] = (account.errors[told] || 0) + 1;
  account.first[told] = account.first[told] || new Date().toISOString();
}

async function use(connection, client, counter) {
  let stage = "begin";
  try {
    for (let left = transactions; left > 0; left -= 1) {
      stage = "begin";
      counter.number += 1;
      await connection.query("BEGIN");
      stage = "inside";
      const insert = "INSERT INTO load (run, client, number) VALUES ($1, $2, $3)";
      await connection.query({ name: "insert", text: insert, values: [run, client, counter.number] });
      await connection.query("SELECT pg_sleep(0.1)");
      stage = "commit";
      await connection.query("COMMIT");
      account.committed += 1;
      await pause(100 + 200 * Math.random());
    }
  } catch (error) {
    account.failed += 1;
    blame(stage, error);
  }
}

async function work(client) {
  const counter = { number: 0 };
  while (!over) {
    const connection = new Client({ connectionString: process.env.DATABASE_URL });
    connection.on("error", () => {}); // the query that runs fails by itself
    try {
      await connection.connect();
    } catch (error) {
      account.refused += 1;
      blame("connect", error);
      await pause(200);
      continue;
    }
    account.connected += 1;
    account.most_connected = Math.max(account.most_connected, account.connected);
    await use(connection, client, counter);
    account.connected -= 1;
    await connection.end().catch(() => {});
  }
}

const say = () => console.log(JSON.stringify(account));
const telling = setInterval(say, 1000);
Promise.all([...Array(clients).keys()].map(work)).then(() => {
  clearInterval(telling);
  account.done = true;
  account.attempts = [];
  account.failures = [];
  say();
});
