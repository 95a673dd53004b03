// database/sql on lib/pq.
package main

import (
	"database/sql"
	"os"

	_ "github.com/lib/pq"

	"clients/protocol"
)

type querier interface {
	QueryRow(query string, args ...any) *sql.Row
	Exec(query string, args ...any) (sql.Result, error)
}

type session struct{ of querier }

func (s session) one(query string, args ...any) (found int, err error) {
	err = s.of.QueryRow(query, args...).Scan(&found)
	return found, err
}

func (s session) Twice(n int) (int, error) { return s.one(protocol.Twice, n) }
func (s session) Pid() (int, error)        { return s.one(protocol.Pid) }
func (s session) Insert(step string, n int) error {
	_, err := s.of.Exec(protocol.Insert, protocol.Name, step, n)
	return err
}

type client struct {
	session
	db *sql.DB
}

func (c client) Transaction(work func(protocol.Session) error) error {
	tx, err := c.db.Begin()
	if err != nil {
		return err
	}
	if err := work(session{tx}); err != nil {
		_ = tx.Rollback()
		return err
	}
	return tx.Commit()
}

func (c client) Prepared(n int) (double, count int, err error) {
	tx, err := c.db.Begin() // one server connection for the statement and the count
	if err != nil {
		return
	}
	defer tx.Rollback()
	statement, err := tx.Prepare(protocol.Twice)
	if err != nil {
		return
	}
	defer statement.Close()
	if err = statement.QueryRow(n).Scan(&double); err != nil {
		return
	}
	count, err = session{tx}.one(protocol.Prepared)
	return
}

func (c client) Close() { _ = c.db.Close() }

func main() {
	protocol.Run(func() (protocol.Client, error) {
		url := protocol.URL + "?sslmode=disable" // its own default is require
		if os.Getenv("BINARY") == "yes" {
			url += "&binary_parameters=yes"
		}
		db, err := sql.Open("postgres", url)
		if err != nil {
			return nil, err
		}
		db.SetConnMaxLifetime(protocol.Lifetime())
		return client{session{db}, db}, nil
	})
}
