package access_test

import (
	"context"
	"testing"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// BenchmarkRobotToken is the token service's work for a robot whose credentials were verified a moment ago: 8,000 a second on one core are promised.
func BenchmarkRobotToken(b *testing.B) {
	ctx := context.Background()
	a := fuzzed(b)
	err := a.DB.Tx(ctx, "test.project", func(tx *sqldb.Tx) error {
		_, cause := index.AddProject(ctx, tx, index.Project{Name: "secret"})
		return cause
	})
	if err != nil {
		b.Fatal(err)
	}
	r, secret, err := a.CreateRobot(ctx, administrator, access.RobotSpec{Name: "ci", Project: "secret", Days: access.Forever, Permissions: pusher("secret")})
	if err != nil {
		b.Fatal(err)
	}
	scopes := []access.Scope{{Type: "repository", Name: "secret/app", Actions: []string{"pull", "push"}}}
	b.ReportAllocs()
	for b.Loop() {
		who, loginErr := a.Authenticate(ctx, r.Name, secret, here)
		if loginErr != nil {
			b.Fatal(loginErr)
		}
		granted, grantErr := a.Grant(ctx, who, scopes)
		if grantErr != nil || len(granted) != 1 || len(granted[0].Actions) != 2 {
			b.Fatal(granted, grantErr)
		}
		if _, err = a.Issue(ctx, who, service, granted); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
}
