package project

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/havn-registry/havn/internal/index"
	"github.com/havn-registry/havn/internal/sqldb"
)

// MaxPage is the largest page of projects.
const MaxPage = 100

// Viewer is who looks at a list: the zero Viewer sees what is public.
type Viewer struct {
	All   bool  // sees everything
	User  int64 // a user's number: sees the projects of which he or a group of his is a member too
	Robot int64 // a robot's number: sees the projects too in which it may pull
}

// Query says which projects are listed, and how. The zero value: the public ones, by name, from the first.
type Query struct {
	Viewer  Viewer
	Name    string // exactly this one; "": any
	Part    string // this is a part of the name
	Owner   string // the name of the user that made it; "": anybody
	Public  bool   // public ones alone
	Private bool   // others alone
	ID      int64  // exactly this one; 0: any
	OwnerID int64  // the number of the user that made it; 0: anybody
	Created Span   // when it was made
	Changed Span   // when it was last changed
	Order   Order
	Down    bool // from the last to the first
	Offset  int  // how many are left out at the beginning
	Limit   int  // how many there are at most; 0, and more than MaxPage: MaxPage
}

// Span is a time between two, both included; zero for an open end.
type Span struct{ From, To time.Time }

func (s Span) micros() (ends [2]int64) {
	for i, at := range []time.Time{s.From, s.To} {
		if !at.IsZero() {
			ends[i] = sqldb.Micros(at)
		}
	}
	return ends
}

// Order is what a list is sorted by.
type Order int

// Orders of lists. Projects that are alike come in the order of their numbers.
const (
	ByName         Order = Order(index.ByName)
	ByID           Order = Order(index.ByID)
	ByCreation     Order = Order(index.ByCreation)
	ByChange       Order = Order(index.ByChange)
	ByRepositories Order = Order(index.ByRepositories)
)

// List answers a page of projects that the viewer may see, and how many there are in all.
func (p *Projects) List(ctx context.Context, query Query) (page []Project, total int64, err error) {
	if query.Limit <= 0 || query.Limit > MaxPage {
		query.Limit = MaxPage
	}
	query.Offset = max(0, query.Offset)
	f := index.ProjectFilter{
		Viewer: index.Viewer(query.Viewer), Name: query.Name, Part: strings.ToLower(query.Part), Owner: query.Owner, Public: query.Public, Private: query.Private,
		ID: query.ID, OwnerID: query.OwnerID, Created: query.Created.micros(), Changed: query.Changed.micros(),
	}
	err = p.db.View(ctx, "project.list", func(q sqldb.Querier) error {
		var listErr error
		page, listErr = projects(ctx, q, f, index.ProjectOrder(query.Order), query.Down, query.Offset, query.Limit)
		if listErr != nil {
			return listErr
		}
		// A page that is not full, and not behind the end, is the last.
		if n := len(page); n < query.Limit && (n > 0 || query.Offset == 0) {
			total = int64(query.Offset + n)
			return nil
		}
		total, listErr = index.CountProjects(ctx, q, f)
		return listErr
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list projects: %w", err)
	}
	return page, total, nil
}
