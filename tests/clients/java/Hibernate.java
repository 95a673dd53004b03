import jakarta.persistence.Column;
import jakarta.persistence.Entity;
import jakarta.persistence.GeneratedValue;
import jakarta.persistence.GenerationType;
import jakarta.persistence.Id;
import jakarta.persistence.Table;
import org.hibernate.SessionFactory;
import org.hibernate.cfg.Configuration;

/** Hibernate with entities, on HikariCP. */
final class Hibernate implements Protocol.Client {
  private final SessionFactory factory =
      new Configuration()
          .setProperty("hibernate.connection.url", Protocol.URL)
          .setProperty("hibernate.connection.username", Protocol.USER)
          .setProperty("hibernate.connection.password", Protocol.PASSWORD)
          .setProperty("hibernate.connection.provider_class", "hikari")
          .addAnnotatedClass(Number.class)
          .addAnnotatedClass(Witness.class)
          .buildSessionFactory();

  public static void main(String[] steps) throws Exception {
    Protocol.run(steps, Hibernate::new);
  }

  @Entity
  @Table(name = "number")
  static class Number {
    @Id int n;
    int twice;
  }

  @Entity
  @Table(name = "witness")
  static class Witness {
    @Id
    @GeneratedValue(strategy = GenerationType.IDENTITY)
    Long id;

    @Column String client;
    @Column String step;
    @Column int n;
  }

  private record Statements(org.hibernate.Session session) implements Protocol.Session {
    @Override
    public int twice(int n) {
      return session.find(Number.class, n).twice;
    }

    @Override
    public void insert(String step, int n) {
      Witness row = new Witness();
      row.client = Protocol.NAME;
      row.step = step;
      row.n = n;
      session.persist(row);
    }

    @Override
    public int pid() {
      return one(Protocol.PID);
    }

    @Override
    public int prepared() {
      return one(Protocol.PREPARED);
    }

    private int one(String query) {
      return session.createNativeQuery(query, Integer.class).getSingleResult();
    }
  }

  @Override
  public int twice(int n) {
    return factory.fromSession(session -> new Statements(session).twice(n));
  }

  @Override
  public void insert(String step, int n) {
    factory.inTransaction(session -> new Statements(session).insert(step, n));
  }

  @Override
  public void transaction(Protocol.Work work) throws Exception {
    try (var session = factory.openSession()) {
      var transaction = session.beginTransaction();
      try {
        work.in(new Statements(session));
        transaction.commit();
      } catch (Exception error) {
        if (transaction.getStatus().canRollback()) {
          transaction.rollback();
        }
        throw error;
      }
    }
  }

  @Override
  public void close() {
    factory.close();
  }
}
