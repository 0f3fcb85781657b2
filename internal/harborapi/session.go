package harborapi

import (
	"net/http"
	"slices"

	"github.com/havn-registry/havn/internal/access"
	"github.com/havn-registry/havn/internal/fail"
)

// endedSession is the event of sessions that are ended from elsewhere.
var endedSession = event{"delete", "session"}

// sessionsOf answers the sessions of a user whom the caller may look at, or whom he may change.
func (a *API) sessionsOf(c *call, userID int64, action string) (access.User, []access.Session, error) {
	if err := a.self(c, userID, action); err != nil {
		return access.User{}, nil, err
	}
	whose, err := a.Access.User(c.Context(), userID)
	if err != nil {
		return access.User{}, nil, err
	}
	all, err := a.Access.Sessions(c.Context(), userID)
	return whose, all, err
}

// ListSessions lists where a user is logged in with browsers.
func (a *API) ListSessions(c *call, userID int64) error {
	_, all, err := a.sessionsOf(c, userID, "read")
	if err != nil {
		return err
	}
	here := access.SessionID(a.sessionOf(c.Request))
	entries := make([]Session, len(all))
	for i, s := range all {
		entries[i] = Session{
			ID: s.ID, Current: s.ID == here, CreationTime: Time(s.Begun), ActiveTime: Time(s.Active), ExpirationTime: Time(s.Expires), Address: s.Addr, UserAgent: s.Agent,
		}
	}
	return c.json(http.StatusOK, entries)
}

// EndSession ends one of a user's sessions.
func (a *API) EndSession(c *call, userID int64, sessionID string) error {
	whose, all, err := a.sessionsOf(c, userID, "update")
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(all, func(s access.Session) bool { return s.ID == sessionID }) {
		return fail.E(fail.NotFound, nil, "session %.64q of %s", sessionID, whose.Name)
	}
	if err = a.Access.EndSession(c.Context(), userID, sessionID); err != nil {
		return err
	}
	c.audited(endedSession, whose.Name, 0, "")
	return c.done()
}

// EndSessions ends all of a user's sessions, or all but the one in which this is asked.
func (a *API) EndSessions(c *call, userID int64, p EndSessionsParams) error {
	whose, _, err := a.sessionsOf(c, userID, "update")
	if err != nil {
		return err
	}
	but := ""
	if p.ButThis {
		but = a.sessionOf(c.Request)
	}
	if err = a.Access.EndSessions(c.Context(), userID, but); err != nil {
		return err
	}
	c.audited(endedSession, whose.Name, 0, "all")
	return c.done()
}
