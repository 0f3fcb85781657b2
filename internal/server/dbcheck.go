package server

import (
	"context"
	"log/slog"
	"time"

	"github.com/havn-registry/havn/internal/config"
	"github.com/havn-registry/havn/internal/dbcheck"
	"github.com/havn-registry/havn/internal/fail"
)

// CheckDatabase tries what Havn needs of a database against the one that is configured: `havn db check`. It makes tables of its own there, and drops them.
func CheckDatabase(ctx context.Context, c *config.Config, rounds int) []Finding {
	if c.Database.Engine == config.SQLite {
		return []Finding{{Subject: "database", Status: Good, Text: "SQLite: one process writes, so there is nothing to try; `havn doctor` looks at its file"}}
	}
	d, err := databaseConfig(c, time.Now, slog.New(slog.DiscardHandler))
	if err != nil {
		return []Finding{{Subject: "database", Status: Wrong, Text: err.Error(), Hint: fail.HintOf(err)}}
	}
	var all []Finding
	for _, f := range dbcheck.Run(ctx, dbcheck.Config{Database: d, Rounds: rounds}) {
		subject := f.Server
		if subject == "" {
			subject = "database"
		}
		all = append(all, Finding{Subject: subject, Status: statusOf(f.Finding), Text: f.What, Hint: f.Hint})
	}
	return all
}
