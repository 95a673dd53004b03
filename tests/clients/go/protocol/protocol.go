// Package protocol has the cases of cases.toml for clients in Go.
package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"
)

// Statements of every client.
const (
	Twice    = "select twice from number where n = $1"
	Insert   = "insert into witness (client, step, n) values ($1, $2, $3)"
	Pid      = "select pg_backend_pid()"
	Prepared = "select count(*) from pg_prepared_statements"
)

// Name is the name that the client's rows have; URL leads to the pool.
var Name, URL = os.Getenv("CLIENT"), os.Getenv("DATABASE_URL")

// Lifetime of a connection; zero unless it is set.
func Lifetime() time.Duration {
	seconds, _ := strconv.Atoi(os.Getenv("LIFETIME"))
	return time.Duration(seconds) * time.Second
}

// Session is what works in a transaction and outside one.
type Session interface {
	Twice(n int) (int, error)
	Insert(step string, n int) error
	Pid() (int, error)
}

// Client is an instance with what it does by default. An error of the work rolls a transaction back.
type Client interface {
	Session
	Transaction(work func(Session) error) error
	// Prepared is as Twice, by a prepared statement, and says how many of them PostgreSQL has.
	Prepared(n int) (double, count int, err error)
	Close()
}

var errOnPurpose = errors.New("on purpose")

type figures struct {
	Case   string `json:"case"`
	OK     bool   `json:"ok"`
	Error  string `json:"error"`
	Done   int    `json:"done"`
	Failed int    `json:"failed"`
}

// Run runs the cases that the arguments name, and prints a line for each.
func Run(open func() (Client, error)) {
	client, err := open()
	if err != nil {
		fmt.Fprintln(os.Stderr, "Error:", err)
		os.Exit(1)
	}
	for _, step := range os.Args[1:] {
		line := figures{Case: step}
		switch step {
		case "defaults":
			err = workers(8, func(worker int) error { return ask(client, worker*25+1, 25) })
		case "prepared":
			err = workers(8, func(worker int) error { return prepared(client, worker) })
		case "transaction":
			err = workers(8, func(worker int) error { return client.Transaction(twoRows(worker)) })
		case "rollback":
			err = workers(8, func(worker int) error { return rollback(client, worker) })
		case "interactive":
			err = workers(4, func(worker int) error { return client.Transaction(interactive(worker)) })
		case "instances":
			err = workers(10, func(int) error { return instances(open) })
		case "cold":
			err = client.Insert("cold", 1)
		case "roll":
			err = roll(client, &line)
		}
		line.OK = err == nil
		if err != nil {
			line.Error = err.Error()
		}
		text, _ := json.Marshal(line)
		fmt.Println(string(text))
		if step == "cold" {
			os.Exit(0)
		}
	}
	client.Close()
}

func ask(session Session, first, count int) error {
	for n := first; n < first+count; n++ {
		if found, err := session.Twice(n); err != nil || found != 2*n {
			return fmt.Errorf("%d for %d: %w", found, n, err)
		}
	}
	return nil
}

func prepared(client Client, worker int) error {
	for n := worker + 1; n < worker+11; n++ {
		found, count, err := client.Prepared(n)
		if err != nil || found != 2*n || count == 0 {
			return fmt.Errorf("%d for %d, %d prepared statements: %w", found, n, count, err)
		}
	}
	return nil
}

func twoRows(worker int) func(Session) error {
	return func(session Session) error {
		return errors.Join(session.Insert("transaction", worker), session.Insert("transaction", worker))
	}
}

func rollback(client Client, worker int) error {
	err := client.Transaction(func(session Session) error {
		return errors.Join(session.Insert("rollback", worker), errOnPurpose)
	})
	if !errors.Is(err, errOnPurpose) {
		return fmt.Errorf("instead of a rollback: %w", err)
	}
	return ask(client, worker+1, 1)
}

func interactive(worker int) func(Session) error {
	return func(session Session) error {
		before, err := session.Pid()
		if err != nil {
			return err
		}
		value, err := session.Twice(worker + 1)
		if err != nil {
			return err
		}
		time.Sleep(20 * time.Millisecond)
		if err := session.Insert("interactive", value); err != nil {
			return err
		}
		if after, err := session.Pid(); err != nil || after != before {
			return fmt.Errorf("from %d to %d: %w", before, after, err)
		}
		return nil
	}
}

func instances(open func() (Client, error)) error {
	for round := range 10 {
		client, err := open()
		if err != nil {
			return err
		}
		err = client.Insert("instances", round)
		client.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func roll(client Client, line *figures) error {
	ended := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(ended)
	}()
	var lock sync.Mutex
	return workers(4, func(worker int) error {
		for {
			select {
			case <-ended:
				return nil
			case <-time.After(40 * time.Millisecond):
			}
			err := client.Transaction(func(session Session) error { return session.Insert("roll", worker) })
			lock.Lock()
			if err == nil {
				line.Done++
			} else {
				line.Failed++
				line.Error = err.Error()
			}
			lock.Unlock()
		}
	})
}

func workers(count int, work func(worker int) error) error {
	errs := make([]error, count)
	var all sync.WaitGroup
	for worker := range count {
		all.Add(1)
		go func() {
			defer all.Done()
			errs[worker] = work(worker)
		}()
	}
	all.Wait()
	return errors.Join(errs...)
}
