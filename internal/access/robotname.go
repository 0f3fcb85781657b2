package access

import (
	"regexp"
	"strings"

	"github.com/havn-registry/havn/internal/fail"
)

// robotPlus stands between the project and the name of a project's robot. No project has it in its name.
const robotPlus = "+"

// maxRobotName bounds a robot's name with its project's, so that with any prefix it fits where subjects are stored.
const maxRobotName = maxName - MaxRobotPrefix

// robotNames are Harbor's.
var robotNames = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

// RobotName answers the whole name of a robot: of a project's one, or, if project is "", of the system's.
func RobotName(prefix, project, name string) string {
	if project == "" {
		return prefix + name
	}
	return prefix + project + robotPlus + name
}

// ParseRobotName takes a whole name apart; project is "" for the system's robots. It reports whether this can be a robot's name at all.
func ParseRobotName(prefix, whole string) (project, name string, ok bool) {
	rest, ok := strings.CutPrefix(whole, prefix)
	if !ok || !isName(whole) {
		return "", "", false
	}
	project, name, of := strings.Cut(rest, robotPlus)
	if !of {
		project, name = "", rest
	}
	if name == "" || of && project == "" {
		return "", "", false
	}
	return project, name, true
}

func checkRobotName(project, name string) error {
	if !robotNames.MatchString(name) {
		return fail.E(fail.Invalid, nil, "robot name %.100q", name).Hint("use lower case letters and digits, with single . _ or - between them")
	}
	if n := len(RobotName("", project, name)); n > maxRobotName {
		return fail.E(fail.Invalid, nil, "robot name of %d bytes, its project's included", n).Hint("use at most %d", maxRobotName)
	}
	return nil
}
