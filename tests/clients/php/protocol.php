<?php

/**
 * The cases of cases.toml for clients in PHP. A program hands `run` a function that makes its client.
 *
 * PHP serves each request in a process of its own: a worker is a process, which makes its own client. It has:
 *
 *   twice(n)            a query with a parameter: the double of n
 *   insert(step, n)     one row of `witness`
 *   pid()               the server connection's process
 *   transaction(work)   runs work(), and rolls back when it throws
 *   prepared()          how many prepared statements PostgreSQL has of this server connection
 */

declare(strict_types=1);

const TWICE = 'select twice from number where n = ?';
const INSERT = 'insert into witness (client, step, n) values (?, ?, ?)';

/** What rolls a transaction back. */
final class OnPurpose extends Exception
{
}

/** Run the cases that the arguments name, print a line for each, and end the process. */
function run(callable $make): void
{
    foreach (array_slice($_SERVER['argv'], 1) as $step) {
        $line = ['case' => $step, 'ok' => true];
        try {
            $line = [...$line, ...step($step, $make)];
        } catch (Throwable $error) {
            $line = [...$line, 'ok' => false, 'error' => words($error)];
        }
        echo json_encode($line), "\n";
    }
}

function words(Throwable $error): string
{
    return $error::class . ': ' . strtok($error->getMessage(), "\n");
}

function step(string $step, callable $make): array
{
    switch ($step) {
        case 'defaults':
            workers(8, fn (int $worker) => asks($make(), $worker * 25 + 1, 25));
            return [];
        case 'prepared':
            $counts = workers(8, fn (int $worker) => prepared($make(), $worker));
            max($counts) > 0 or throw new RuntimeException('PostgreSQL has no prepared statement');
            return [];
        case 'transaction':
            workers(8, fn (int $worker) => twoRows($make(), $worker));
            return [];
        case 'rollback':
            workers(8, fn (int $worker) => rollback($make(), $worker));
            return [];
        case 'interactive':
            workers(4, fn (int $worker) => interactive($make(), $worker));
            return [];
        case 'instances':
            workers(10, fn () => instances($make));
            return [];
        case 'cold':
            $make()->insert('cold', 1);
            return [];
        case 'roll':
            return roll($make);
    }
    throw new RuntimeException($step);
}

function same(int $found, int $wanted): void
{
    $found === $wanted or throw new RuntimeException("$found instead of $wanted");
}

function asks(object $client, int $first, int $count): void
{
    for ($n = $first; $n < $first + $count; $n++) {
        same($client->twice($n), 2 * $n);
    }
}

function prepared(object $client, int $worker): int
{
    $most = 0;
    for ($n = $worker + 1; $n <= $worker + 10; $n++) {
        $client->transaction(function () use ($client, $n, &$most): void {
            same($client->twice($n), 2 * $n);
            $most = max($most, $client->prepared());
        });
    }
    return $most;
}

function twoRows(object $client, int $worker): void
{
    $client->transaction(function () use ($client, $worker): void {
        $client->insert('transaction', $worker);
        $client->insert('transaction', $worker);
    });
}

function rollback(object $client, int $worker): void
{
    try {
        $client->transaction(function () use ($client, $worker): void {
            $client->insert('rollback', $worker);
            throw new OnPurpose();
        });
    } catch (OnPurpose) {
        asks($client, $worker + 1, 1);
        return;
    }
    throw new RuntimeException('no exception left the transaction');
}

function interactive(object $client, int $worker): void
{
    $client->transaction(function () use ($client, $worker): void {
        $pid = $client->pid();
        $value = $client->twice($worker + 1);
        usleep(20_000);
        $client->insert('interactive', $value);
        same($client->pid(), $pid);
    });
}

function instances(callable $make): void
{
    for ($round = 0; $round < 10; $round++) {
        $make()->insert('instances', $round); // the connection is closed with its last reference
    }
}

/** Workers insert until standard input ends: then the parent removes the file that they look for. */
function roll(callable $make): array
{
    $going = tempnam(sys_get_temp_dir(), 'roll');
    $children = start(4, fn (int $worker) => rolls($make, $worker, $going));
    stream_get_contents(STDIN);
    unlink($going);
    $found = ends($children);
    $errors = array_values(array_filter(array_column($found, 2)));
    return ['done' => array_sum(array_column($found, 0)), 'failed' => array_sum(array_column($found, 1)), 'error' => $errors[0] ?? ''];
}

function rolls(callable $make, int $worker, string $going): array
{
    [$client, $done, $failed, $last] = [$make(), 0, 0, ''];
    while (file_exists($going)) {
        clearstatcache();
        usleep(40_000);
        try {
            $client ??= $make();
            $client->transaction(fn () => $client->insert('roll', $worker));
            $done++;
        } catch (PDOException $error) {
            $failed++;
            $last = words($error);
            $client = null; // as the next request does
        }
    }
    return [$done, $failed, $last];
}

/** What each of `count` processes returns; the first exception, if there is one. */
function workers(int $count, callable $work): array
{
    return ends(start($count, $work));
}

function start(int $count, callable $work): array
{
    $children = [];
    for ($worker = 0; $worker < $count; $worker++) {
        [$ours, $theirs] = stream_socket_pair(STREAM_PF_UNIX, STREAM_SOCK_STREAM, 0);
        $pid = pcntl_fork();
        if ($pid === 0) {
            fclose($ours);
            try {
                $said = [$work($worker), null];
            } catch (Throwable $error) {
                $said = [null, words($error)];
            }
            fwrite($theirs, json_encode($said));
            exit(0);
        }
        fclose($theirs);
        $children[$pid] = $ours;
    }
    return $children;
}

function ends(array $children): array
{
    $found = [];
    foreach ($children as $pid => $stream) {
        [$value, $error] = json_decode(stream_get_contents($stream), true);
        pcntl_waitpid($pid, $status);
        $error === null or throw new RuntimeException($error);
        $found[] = $value;
    }
    return $found;
}
