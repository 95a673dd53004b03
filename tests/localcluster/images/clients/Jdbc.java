import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Clients with pgjdbc's own defaults: after five executions it prepares a statement on the server.
 *
 * <p>Arguments: how many clients, and how many rounds each. The environment's URL is a JDBC URL. Prints "all right", or
 * ends with what went wrong.
 */
final class Jdbc {
  private Jdbc() {}

  public static void main(String[] arguments) throws Exception {
    String url = System.getenv("URL");
    int clients = Integer.parseInt(arguments[0]);
    int rounds = Integer.parseInt(arguments[1]);
    ExecutorService threads = Executors.newFixedThreadPool(clients);
    try {
      List<Callable<Integer>> work = new ArrayList<>();
      for (int client = 0; client < clients; client++) {
        int number = client;
        work.add(() -> client(url, number, rounds));
      }
      int most = 0;
      for (Future<Integer> prepared : threads.invokeAll(work)) {
        most = Math.max(most, prepared.get());
      }
      if (most == 0) {
        throw new IllegalStateException("nothing was prepared");
      }
      System.out.println("all right");
    } finally {
      threads.shutdown();
    }
  }

  private static int client(String url, int number, int rounds) throws Exception {
    try (Connection connection = DriverManager.getConnection(url);
        PreparedStatement sum = connection.prepareStatement("SELECT ?::int + ?::int")) {
      for (int step = 0; step < rounds; step++) {
        connection.setAutoCommit(step % 2 == 0);
        sum.setInt(1, number);
        sum.setInt(2, step);
        try (ResultSet found = sum.executeQuery()) {
          found.next();
          if (found.getInt(1) != number + step) {
            throw new IllegalStateException("wrong sum");
          }
        }
        if (!connection.getAutoCommit()) {
          connection.commit();
        }
      }
      connection.setAutoCommit(true);
      try (ResultSet found =
          connection.createStatement().executeQuery("SELECT count(*) FROM pg_prepared_statements")) {
        found.next();
        return found.getInt(1);
      }
    }
  }
}
