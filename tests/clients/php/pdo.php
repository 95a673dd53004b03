<?php

// PDO with its PostgreSQL driver. EMULATE=yes sets PDO::ATTR_EMULATE_PREPARES.

declare(strict_types=1);

require __DIR__ . '/protocol.php';

final class Client
{
    private PDO $pdo;

    public function __construct()
    {
        $url = parse_url(getenv('DATABASE_URL'));
        $dsn = sprintf('pgsql:host=%s;port=%d;dbname=%s', $url['host'], $url['port'], ltrim($url['path'], '/'));
        $options = getenv('EMULATE') === 'yes' ? [PDO::ATTR_EMULATE_PREPARES => true] : [];
        $this->pdo = new PDO($dsn, $url['user'], $url['pass'], $options);
    }

    public function twice(int $n): int
    {
        $statement = $this->pdo->prepare(TWICE);
        $statement->execute([$n]);
        return (int) $statement->fetchColumn();
    }

    public function insert(string $step, int $n): void
    {
        $this->pdo->prepare(INSERT)->execute([getenv('CLIENT'), $step, $n]);
    }

    public function pid(): int
    {
        return (int) $this->pdo->query('select pg_backend_pid()')->fetchColumn();
    }

    public function transaction(callable $work): void
    {
        $this->pdo->beginTransaction();
        try {
            $work();
            $this->pdo->commit();
        } catch (Throwable $error) {
            try {
                $this->pdo->rollBack();
            } catch (PDOException) {
                // the connection is closed: nothing is left to roll back
            }
            throw $error;
        }
    }

    public function prepared(): int
    {
        $statement = $this->pdo->prepare(TWICE); // a statement is closed with its last reference
        $statement->execute([1]);
        return (int) $this->pdo->query('select count(*) from pg_prepared_statements')->fetchColumn();
    }
}

run(fn () => new Client());
