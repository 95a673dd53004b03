// GORM on its PostgreSQL driver, which is pgx.
package main

import (
	"os"

	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"clients/protocol"
)

type number struct{ N, Twice int }

type witness struct {
	ID     int64
	Client string
	Step   string
	N      int
}

func (number) TableName() string  { return "number" }
func (witness) TableName() string { return "witness" }

type client struct{ db *gorm.DB }

func (c client) Twice(n int) (int, error) {
	var found number
	err := c.db.First(&found, "n = ?", n).Error
	return found.Twice, err
}

func (c client) Insert(step string, n int) error {
	return c.db.Create(&witness{Client: protocol.Name, Step: step, N: n}).Error
}

func (c client) Pid() (found int, err error) {
	err = c.db.Raw(protocol.Pid).Scan(&found).Error
	return found, err
}

func (c client) Transaction(work func(protocol.Session) error) error {
	return c.db.Transaction(func(tx *gorm.DB) error { return work(client{tx}) })
}

func (c client) Prepared(n int) (double, count int, err error) {
	err = c.db.Transaction(func(tx *gorm.DB) error {
		if double, err = (client{tx}).Twice(n); err != nil {
			return err
		}
		return tx.Raw(protocol.Prepared).Scan(&count).Error
	})
	return double, count, err
}

func (c client) Close() {
	if db, err := c.db.DB(); err == nil {
		_ = db.Close()
	}
}

func main() {
	protocol.Run(func() (protocol.Client, error) {
		quiet := logger.Default.LogMode(logger.Silent)
		prepare := os.Getenv("PREPARE") == "yes"
		db, err := gorm.Open(postgres.Open(protocol.URL), &gorm.Config{Logger: quiet, PrepareStmt: prepare})
		if err != nil {
			return nil, err
		}
		if pool, err := db.DB(); err == nil {
			pool.SetConnMaxLifetime(protocol.Lifetime())
		}
		return client{db}, nil
	})
}
