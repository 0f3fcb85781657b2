package access

import "time"

// Policy is what administrators may change while Havn runs.
type Policy struct {
	RobotPrefix      string        // begins the names of robots: at most MaxRobotPrefix bytes, best nothing that a user's name begins with; "": the default
	TokenLife        time.Duration // of an access token, at most MaxTokenLife; 0: the default
	SelfRegistration bool          // strangers may make accounts for themselves
	SessionIdle      time.Duration // a session ends when nobody used it for so long
	SessionLife      time.Duration // a session ends when it is so old
}

// MaxRobotPrefix is the longest prefix of robots' names, in bytes.
const MaxRobotPrefix = 32

// MaxTokenLife is the longest life of an access token: what was revoked is remembered for as long as such a token may be used.
const MaxTokenLife = 24 * time.Hour

// DefaultPolicy answers what Harbor has by default, and for the life of sessions, which Harbor does not bound, half a day.
func DefaultPolicy() Policy {
	return Policy{RobotPrefix: "robot$", TokenLife: defaultTokenLife, SessionIdle: time.Hour, SessionLife: 12 * time.Hour}
}

const defaultTokenLife = 30 * time.Minute

// tokenLife answers how long an access token lives that is issued now.
func (a *Access) tokenLife() time.Duration {
	return min(orDefault(a.Policy().TokenLife, defaultTokenLife), MaxTokenLife)
}

// PolicyChanged forgets the logins of a moment ago: another policy, or another directory, may not let them in.
func (a *Access) PolicyChanged() { a.verified.forgetAll() }
