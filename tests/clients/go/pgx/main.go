// pgx 5 with its own pool.
package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"clients/protocol"
)

type querier interface {
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

type session struct{ of querier }

var background = context.Background()

func (s session) one(query string, args ...any) (found int, err error) {
	err = s.of.QueryRow(background, query, args...).Scan(&found)
	return found, err
}

func (s session) Twice(n int) (int, error) { return s.one(protocol.Twice, n) }
func (s session) Pid() (int, error)        { return s.one(protocol.Pid) }
func (s session) Insert(step string, n int) error {
	_, err := s.of.Exec(background, protocol.Insert, protocol.Name, step, n)
	return err
}

type client struct {
	session
	pool *pgxpool.Pool
}

func (c client) Transaction(work func(protocol.Session) error) error {
	return pgx.BeginFunc(background, c.pool, func(tx pgx.Tx) error { return work(session{tx}) })
}

// It prepares every statement by default.
func (c client) Prepared(n int) (double, count int, err error) {
	if double, err = c.Twice(n); err != nil {
		return
	}
	count, err = c.one(protocol.Prepared)
	return
}

func (c client) Close() { c.pool.Close() }

func main() {
	protocol.Run(func() (protocol.Client, error) {
		config, err := pgxpool.ParseConfig(protocol.URL)
		if err != nil {
			return nil, err
		}
		if lifetime := protocol.Lifetime(); lifetime > 0 {
			config.MaxConnLifetime = lifetime
			config.HealthCheckPeriod = lifetime / 4 // it closes what is too old
		}
		pool, err := pgxpool.NewWithConfig(background, config)
		return client{session{pool}, pool}, err
	})
}
