import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicBoolean;

/** The cases of cases.toml for clients on the JVM. */
final class Protocol {
  static final String TWICE = "select twice from number where n = ?";
  static final String INSERT = "insert into witness (client, step, n) values (?, ?, ?)";
  static final String PID = "select pg_backend_pid()";
  static final String PREPARED = "select count(*) from pg_prepared_statements";
  static final String NAME = System.getenv("CLIENT");

  private static final URI ADDRESS = URI.create(System.getenv("DATABASE_URL"));
  static final String URL = "jdbc:postgresql://" + ADDRESS.getAuthority().split("@")[1] + ADDRESS.getPath();
  static final String USER = ADDRESS.getUserInfo().split(":")[0];
  static final String PASSWORD = ADDRESS.getUserInfo().split(":")[1];

  private Protocol() {}

  /** What works in a transaction and outside one. */
  interface Session {
    int twice(int n) throws Exception;

    void insert(String step, int n) throws Exception;

    int pid() throws Exception;

    /** How many prepared statements PostgreSQL has of this server connection. */
    int prepared() throws Exception;
  }

  /** What is done in a transaction; an exception rolls it back. */
  interface Work {
    void in(Session session) throws Exception;
  }

  /** An instance with what it does by default, for many threads. */
  interface Client extends AutoCloseable {
    int twice(int n) throws Exception;

    void insert(String step, int n) throws Exception;

    void transaction(Work work) throws Exception;

    /** A transaction of more prepared statements than the client keeps. */
    default void many() throws Exception {
      throw new UnsupportedOperationException();
    }
  }

  private static final class OnPurpose extends RuntimeException {}

  /** Run the cases that the arguments name, print a line for each, and end the process. */
  static void run(String[] steps, Callable<Client> open) throws Exception {
    Client client = null;
    for (String step : steps) {
      String line = "\"ok\": true";
      try {
        switch (step) {
          case "instances" -> workers(10, worker -> instances(open));
          case "cold" -> open.call().insert("cold", 1);
          case "roll" -> line += roll(open);
          default -> {
            client = client == null ? open.call() : client;
            shared(step, client);
          }
        }
      } catch (Exception error) {
        line = "\"ok\": false, \"error\": " + quoted(words(error));
      }
      System.out.println("{\"case\": " + quoted(step) + ", " + line + "}");
    }
    if (client != null) {
      client.close();
    }
    System.out.flush();
    Runtime.getRuntime().halt(0);
  }

  private static void shared(String step, Client client) throws Exception {
    switch (step) {
      case "defaults" -> workers(8, worker -> ask(client, worker * 25 + 1, 25));
      case "prepared" -> prepared(client);
      case "transaction" -> workers(8, worker -> client.transaction(session -> twoRows(session, worker)));
      case "rollback" -> workers(8, worker -> rollback(client, worker));
      case "many" -> client.many();
      case "interactive" -> workers(4, worker -> client.transaction(session -> interactive(session, worker)));
      default -> throw new IllegalArgumentException(step);
    }
  }

  private static void ask(Client client, int first, int count) throws Exception {
    for (int n = first; n < first + count; n++) {
      same(client.twice(n), 2 * n);
    }
  }

  private static void prepared(Client client) throws Exception {
    int[] most = new int[8];
    workers(
        8,
        worker -> {
          for (int round = 1; round <= 10; round++) {
            int n = worker + round;
            client.transaction(
                session -> {
                  same(session.twice(n), 2 * n);
                  most[worker] = Math.max(most[worker], session.prepared());
                });
          }
        });
    for (int each : most) {
      if (each > 0) {
        return;
      }
    }
    throw new IllegalStateException("PostgreSQL has no prepared statement");
  }

  private static void twoRows(Session session, int worker) throws Exception {
    session.insert("transaction", worker);
    session.insert("transaction", worker);
  }

  private static void rollback(Client client, int worker) throws Exception {
    try {
      client.transaction(
          session -> {
            session.insert("rollback", worker);
            throw new OnPurpose();
          });
      throw new IllegalStateException("no exception left the transaction");
    } catch (OnPurpose expected) {
      ask(client, worker + 1, 1);
    }
  }

  private static void interactive(Session session, int worker) throws Exception {
    int before = session.pid();
    int value = session.twice(worker + 1);
    Thread.sleep(20);
    session.insert("interactive", value);
    same(session.pid(), before);
  }

  private static void instances(Callable<Client> open) throws Exception {
    for (int round = 0; round < 10; round++) {
      try (Client client = open.call()) {
        client.insert("instances", round);
      }
    }
  }

  private static String roll(Callable<Client> open) throws Exception {
    AtomicBoolean ended = new AtomicBoolean();
    Thread reader =
        new Thread(
            () -> {
              try {
                System.in.readAllBytes();
              } catch (java.io.IOException error) {
                System.err.println(error);
              }
              ended.set(true);
            });
    reader.start();
    int[] done = new int[4];
    List<String> failed = java.util.Collections.synchronizedList(new ArrayList<>());
    try (Client client = open.call()) {
      workers(
          4,
          worker -> {
            while (!ended.get()) {
              Thread.sleep(40);
              try {
                client.transaction(session -> session.insert("roll", worker));
                done[worker]++;
              } catch (Exception error) {
                failed.add(words(error));
              }
            }
          });
    }
    int sum = done[0] + done[1] + done[2] + done[3];
    String last = failed.isEmpty() ? "" : failed.get(failed.size() - 1);
    return ", \"done\": " + sum + ", \"failed\": " + failed.size() + ", \"error\": " + quoted(last);
  }

  private interface Task {
    void work(int worker) throws Exception;
  }

  private static void workers(int count, Task task) throws Exception {
    ExecutorService threads = Executors.newFixedThreadPool(count);
    try {
      List<Future<Void>> all = new ArrayList<>();
      for (int each = 0; each < count; each++) {
        int worker = each;
        all.add(
            threads.submit(
                () -> {
                  task.work(worker);
                  return null;
                }));
      }
      for (Future<Void> each : all) {
        each.get();
      }
    } finally {
      threads.shutdown();
    }
  }

  private static void same(int found, int wanted) {
    if (found != wanted) {
      throw new IllegalStateException(found + " instead of " + wanted);
    }
  }

  /** The first line of the innermost cause. */
  private static String words(Throwable error) {
    Throwable cause = error;
    while (cause.getCause() != null) {
      cause = cause.getCause();
    }
    return cause.getClass().getSimpleName() + ": " + String.valueOf(cause.getMessage()).split("\n")[0];
  }

  private static String quoted(String text) {
    return "\"" + text.replace("\\", "\\\\").replace("\"", "\\\"").replaceAll("\\p{Cntrl}", " ") + "\"";
  }
}
