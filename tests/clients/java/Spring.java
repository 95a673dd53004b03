import java.util.Map;
import org.springframework.boot.SpringApplication;
import org.springframework.boot.autoconfigure.EnableAutoConfiguration;
import org.springframework.context.ConfigurableApplicationContext;
import org.springframework.context.annotation.Configuration;
import org.springframework.data.annotation.Id;
import org.springframework.data.jdbc.core.JdbcAggregateTemplate;
import org.springframework.data.relational.core.mapping.Table;
import org.springframework.jdbc.core.JdbcTemplate;
import org.springframework.transaction.PlatformTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/** Spring Data JDBC as Spring Boot sets it up. */
final class Spring implements Protocol.Client, Protocol.Session {
  private final ConfigurableApplicationContext context;
  private final JdbcAggregateTemplate aggregates;
  private final JdbcTemplate jdbc;
  private final TransactionTemplate transactions;

  private Spring() {
    SpringApplication application = new SpringApplication(Application.class);
    application.setDefaultProperties(
        Map.of(
            "spring.datasource.url", Protocol.URL,
            "spring.datasource.username", Protocol.USER,
            "spring.datasource.password", Protocol.PASSWORD,
            "spring.main.register-shutdown-hook", "false",
            "spring.main.banner-mode", "off"));
    context = application.run();
    aggregates = context.getBean(JdbcAggregateTemplate.class);
    jdbc = context.getBean(JdbcTemplate.class);
    transactions = new TransactionTemplate(context.getBean(PlatformTransactionManager.class));
  }

  public static void main(String[] steps) throws Exception {
    System.setProperty("org.springframework.boot.logging.LoggingSystem", "none");
    Protocol.run(steps, Spring::new);
  }

  @Configuration(proxyBeanMethods = false)
  @EnableAutoConfiguration
  static class Application {}

  @Table("number")
  record Number(@Id Integer n, int twice) {}

  @Table("witness")
  record Witness(@Id Long id, String client, String step, int n) {}

  @Override
  public int twice(int n) {
    return aggregates.findById(n, Number.class).twice();
  }

  @Override
  public void insert(String step, int n) {
    aggregates.insert(new Witness(null, Protocol.NAME, step, n));
  }

  @Override
  public int pid() {
    return jdbc.queryForObject(Protocol.PID, Integer.class);
  }

  @Override
  public int prepared() {
    return jdbc.queryForObject(Protocol.PREPARED, Integer.class);
  }

  @Override
  public void transaction(Protocol.Work work) {
    transactions.executeWithoutResult(
        status -> {
          try {
            work.in(this);
          } catch (RuntimeException error) {
            throw error;
          } catch (Exception error) {
            throw new IllegalStateException(error);
          }
        });
  }

  @Override
  public void close() {
    context.close();
  }
}
