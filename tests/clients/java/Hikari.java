import com.zaxxer.hikari.HikariConfig;
import com.zaxxer.hikari.HikariDataSource;
import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;

/** pgjdbc with HikariCP. */
final class Hikari implements Protocol.Client {
  private final HikariDataSource source;

  private Hikari() {
    HikariConfig config = new HikariConfig();
    config.setJdbcUrl(Protocol.URL);
    config.setUsername(Protocol.USER);
    config.setPassword(Protocol.PASSWORD);
    source = new HikariDataSource(config);
  }

  public static void main(String[] steps) throws Exception {
    Protocol.run(steps, Hikari::new);
  }

  private record Statements(Connection connection) implements Protocol.Session {
    @Override
    public int twice(int n) throws SQLException {
      return one(Protocol.TWICE, n);
    }

    @Override
    public int pid() throws SQLException {
      return one(Protocol.PID);
    }

    @Override
    public int prepared() throws SQLException {
      return one(Protocol.PREPARED);
    }

    @Override
    public void insert(String step, int n) throws SQLException {
      try (PreparedStatement statement = connection.prepareStatement(Protocol.INSERT)) {
        statement.setString(1, Protocol.NAME);
        statement.setString(2, step);
        statement.setInt(3, n);
        statement.executeUpdate();
      }
    }

    int one(String query, int... values) throws SQLException {
      try (PreparedStatement statement = connection.prepareStatement(query)) {
        for (int each = 0; each < values.length; each++) {
          statement.setInt(each + 1, values[each]);
        }
        try (ResultSet found = statement.executeQuery()) {
          found.next();
          return found.getInt(1);
        }
      }
    }
  }

  @Override
  public int twice(int n) throws SQLException {
    try (Connection connection = source.getConnection()) {
      return new Statements(connection).twice(n);
    }
  }

  @Override
  public void insert(String step, int n) throws SQLException {
    try (Connection connection = source.getConnection()) {
      new Statements(connection).insert(step, n);
    }
  }

  @Override
  public void transaction(Protocol.Work work) throws Exception {
    try (Connection connection = source.getConnection()) {
      connection.setAutoCommit(false);
      try {
        work.in(new Statements(connection));
        connection.commit();
      } catch (Exception error) {
        rollBack(connection, error);
        throw error;
      }
    }
  }

  /** pgjdbc keeps 256 for each connection, and prepares what it executes for the fifth time. */
  @Override
  public void many() throws Exception {
    transaction(
        session -> {
          for (int each = 0; each < 300; each++) {
            for (int round = 0; round < 5; round++) {
              ((Statements) session).one(Protocol.TWICE + " and " + each + " >= 0", 1);
            }
          }
        });
  }

  private static void rollBack(Connection connection, Exception error) {
    try {
      connection.rollback();
    } catch (SQLException also) {
      error.addSuppressed(also);
    }
  }

  @Override
  public void close() {
    source.close();
  }
}
