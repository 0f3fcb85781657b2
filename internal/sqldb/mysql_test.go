package sqldb

import (
	"errors"
	"testing"

	"github.com/go-sql-driver/mysql"

	"github.com/havn-registry/havn/internal/fail"
)

func TestErrorsOfMariaDBMean(t *testing.T) {
	t.Parallel()
	p := &mysqlProduct{cfg: &Config{Engine: MySQL}}
	for _, c := range []struct {
		number uint16
		reason string
		kind   fail.Kind
		code   string
	}{
		{1213, reasonConflict, 0, ""}, // deadlock, and on Galera a failed certification at any statement
		{1020, reasonConflict, 0, ""},
		{1412, reasonConflict, 0, ""},
		{1615, reasonConflict, 0, ""},
		{1205, reasonNode, 0, ""}, // on Galera also a wait for what other nodes acknowledged
		{1047, reasonNode, 0, ""}, // no quorum
		{1180, reasonNode, 0, ""},
		{1091, "", fail.NotFound, ""}, // an index that another node dropped
		{1053, reasonNode, 0, ""},
		{1290, reasonNode, 0, ""}, // read-only
		{1836, reasonNode, 0, ""},
		{1927, reasonNode, 0, ""},
		{1317, reasonNode, 0, ""},
		{1969, reasonNode, 0, ""},
		{3024, reasonNode, 0, ""},
		{4031, reasonNode, 0, ""},
		{1040, reasonConnection, 0, ""},
		{1203, reasonConnection, 0, ""},
		{1226, reasonConnection, 0, ""},
		{1062, "", fail.Exists, ""},
		{1169, "", fail.Exists, ""},
		{1451, "", fail.Conflict, CodeFK},
		{1452, "", fail.Conflict, CodeFK},
		{1216, "", fail.Conflict, CodeFK},
		{1217, "", fail.Conflict, CodeFK},
		{1406, "", fail.Invalid, ""},
		{1264, "", fail.Invalid, ""},
		{1366, "", fail.Invalid, ""},
		{3819, "", fail.Invalid, ""}, // CHECK: MySQL's number, and MariaDB's
		{4025, "", fail.Invalid, ""},
		{1021, "", fail.Exhausted, ""},
		{1114, "", fail.Exhausted, ""},
		{1044, "", fail.Unavailable, ""}, // the registry's clients are not denied anything
		{1045, "", fail.Unavailable, ""},
		{1049, "", fail.Unavailable, ""},
		{1129, "", fail.Unavailable, ""},
		{1130, "", fail.Unavailable, ""},
		{1698, "", fail.Unavailable, ""},
		{3159, "", fail.Unavailable, ""},
		{1146, "", fail.Unsupported, codeSchema},
		{1064, "", fail.Internal, ""},
	} {
		m := p.classify(errors.Join(errors.New("around"), &mysql.MySQLError{Number: c.number}))
		if m.reason != c.reason || c.reason == "" && m.kind != c.kind || m.code != c.code {
			t.Errorf("%d means %+v", c.number, m)
		}
		if m.kind == fail.Unavailable && m.reason == "" && m.hint == "" {
			t.Errorf("%d ends the start without a word of what to do", c.number)
		}
	}
	for _, err := range []error{mysql.ErrInvalidConn, errNotReady} {
		if m := p.classify(err); m.reason != reasonNode {
			t.Errorf("%v means %+v", err, m)
		}
	}
}
