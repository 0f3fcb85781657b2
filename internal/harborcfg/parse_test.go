package harborcfg

import (
	"fmt"
	"strings"
	"testing"
)

func TestTheFileIsReadAsHarborReadsIt(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a = b":                        "a=b",
		"a=b\r\nc = d\r\n":             "a=b c=d",
		"a: b":                         "a=b",
		"a : b = c":                    "a=b = c",
		"a = b : c":                    "a=b : c",
		"A_b = C":                      "a_b=C",
		"a = x=y=z":                    "a=x=y=z",
		"a = 100%":                     "a=100%",
		"a = %(b)s":                    "a=%(b)s",
		"a = $b":                       "a=$b",
		"a = b # no comment":           "a=b # no comment",
		"a = b#c":                      "a=b#c",
		"a = b;c":                      "a=b;c",
		"a = b ; a comment":            "a=b",
		"a = b;c ; no comment":         "a=b;c ; no comment", // Python looks at the first one alone
		"a = ;b":                       "a=;b",
		"a = ; ":                       "a=",
		"a =":                          "a=",
		"a = \"\"":                     "a=",
		"a = \"b\"":                    "a=\"b\"",
		"a = b\n  c\n\td":              "a=b|c|d",
		"a = b\n\n  c":                 "a=b|c",
		"a = b\n# comment\n; too\n  c": "a=b|c",
		"rem a = b\nREM\nremark = x":   "remark=x",
		"# a = b\n;c = d":              "",
		"\ufeff# comment\na = b":       "a=b",
		"\ufeffa = b":                  "a=b",
		"[configuration]\na = b":       "a=b",
		"a = b\n[configuration]\nc= d": "a=b c=d",
		"[odd = b":                     "[odd=b",
		"a = ümläut":                   "a=ümläut",
		"a = b\na = c":                 "a=c(1)",
		"a = b\nc = d\na = e\na = f":   "a=f(1 3) c=d",
		"a = b\ra = c":                 "a=c(1)",
		"# \xff\na = b":                "a=b",
	} {
		entries, problems := parse("harbor.cfg", []byte(text))
		var got []string
		for _, e := range entries {
			one := e.key + "=" + strings.ReplaceAll(e.value, "\n", "|")
			if len(e.before) > 0 {
				one += strings.NewReplacer("[", "(", "]", ")").Replace(fmt.Sprint(e.before))
			}
			got = append(got, one)
		}
		if strings.Join(got, " ") != want || len(problems) > 0 {
			t.Errorf("%q:\n got %s (%v)\nwant %s", text, strings.Join(got, " "), problems, want)
		}
	}
}

func TestWhatIsNoHarborCfgIsRefusedByLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a = b\nhostname registry":              "harbor.cfg:2: is neither `key = value` nor a comment",
		"= b":                                   "harbor.cfg:1: is neither `key = value` nor a comment",
		"  a = b":                               "harbor.cfg:1: begins with a space, and there is nothing that it could continue",
		"[configuration]\n a = b":               "harbor.cfg:2: begins with a space, and there is nothing",
		"hostname = x\n db_host = y":            "harbor.cfg:2: begins with a space, so that Harbor takes it for more of hostname, and not for db_host",
		"hostname = x\n # hush":                 "harbor.cfg:2: begins with a space, so that Harbor takes it for more of hostname, and not for a comment",
		"[database]\na = b":                     "harbor.cfg:1: begins a section, and Harbor's file has none",
		"a = b\nc = \xff":                       "harbor.cfg:2: is not in UTF-8",
		"a = b\x00c":                            "harbor.cfg:1: contains a control character",
		"\xff\xfea\x00":                         "harbor.cfg:1: is in UTF-16",
		"<html>\n<body>":                        "harbor.cfg:2: is neither",
		"---\nhttp:\n  addr: x\n":               "harbor.cfg:1: is neither",
		"db_password hush-hush\nldap_search_pw": "harbor.cfg:1: is neither",
	} {
		_, problems := parse("harbor.cfg", []byte(text))
		if got := problems.Error(); !strings.Contains(got, want) || strings.Contains(got, "hush") {
			t.Errorf("%q:\n got %s\nwant %s", text, got, want)
		}
	}
}

func TestPairsAreTakenApartAsHarborDoes(t *testing.T) {
	t.Parallel()
	names := []string{"username", "password", "authurl", "container"}
	for text, want := range map[string]string{
		"":                                   "",
		"username: u,password: p":            "password=p username=u",
		"username:u":                         "username=u",
		"username:u, password:p":             "password=p username=u",
		"authurl: http://h:7480/auth/v1":     "authurl=http://h:7480/auth/v1",
		"username: registry:swift":           "username=registry:swift",
		"username: u,\n password: p,\n":      "password=p username=u",
		"password: \"a # b\"":                "password=a # b",
		"password: \"a\\\"b\\u00e9\" # note": "password=a\"bé",
		"password: 'a''b'":                   "password=a'b",
		"password: a # note":                 "password=a",
		"password: a#b":                      "password=a#b",
		"password: 00123":                    "password=00123",
		"password: ~":                        "password=",
		"password:":                          "password=",
		"# note, password: p":                "password=p",
		"USERNAME: u":                        "username=u",
		"password: a,b":                      "! its part 2 is not `key: value`: a value can't hold a comma, in Harbor neither",
		"password: a,hush: b":                "! its pair 2 is no option of docker-registry's driver swift",
		"passwort: hush":                     "! its pair 1 is no option of docker-registry's driver swift; was password meant?",
		"password: a\n b":                    "! its pair 1 goes over two lines",
		"password: a, password: b":           "! password is there twice",
		"password: *a":                       "! the value of password begins with a letter that means something else in YAML",
		"password: \"a":                      "! the value of password is not in quotes as YAML has them",
		"password: 'a":                       "! the value of password is not in quotes as YAML has them",
		"password: '":                        "! the value of password is not in quotes as YAML has them",
		"password: 'a'b'":                    "! the value of password is not in quotes as YAML has them",
		"password: \"a\" b":                  "! the value of password is not in quotes as YAML has them",
	} {
		found, wrong := parseOptions(text, "swift", names)
		var got []string
		for _, name := range []string{"authurl", "container", "password", "username"} {
			if value, ok := found[name]; ok {
				got = append(got, name+"="+value)
			}
		}
		result := strings.Join(got, " ")
		if len(wrong) > 0 {
			result = "! " + strings.Join(wrong, "; ")
		}
		if !strings.HasPrefix(result, want) || want == "" && result != "" || strings.Contains(result, "hush") {
			t.Errorf("%q:\n got %s\nwant %s", text, result, want)
		}
	}
}
