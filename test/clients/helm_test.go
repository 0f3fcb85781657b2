package clients

import (
	"testing"

	"github.com/havn-registry/havn/test/harness"
)

func TestHelm3PushesAndPullsCharts(t *testing.T) { helm(t, "helm3") }

func TestHelm4PushesAndPullsCharts(t *testing.T) { helm(t, "helm4") }

func helm(t *testing.T, client string) {
	t.Helper()
	s, sh := harness.Start(t, harness.Options{}), harness.NewShell(t)
	bin := harness.Client(t, client)
	run := func(args ...string) string { return sh.Run(t, append([]string{bin}, args...)...) }

	sh.Refused(t, bin, "registry", "login", "--plain-http", "-u", harness.User, "-p", "wrong", s.Addr)
	run("registry", "login", "--plain-http", "-u", harness.User, "-p", harness.Password, s.Addr)
	run("create", "app")
	run("package", "app")
	charts := "oci://" + s.Addr + "/lab/charts"
	run("push", "--plain-http", "app-0.1.0.tgz", charts)
	run("package", "app", "--version", "0.2.0+build.7") // the + is a _ in the tag
	run("push", "--plain-http", "app-0.2.0+build.7.tgz", charts)
	_, _, body := manifest(t, s, "lab/charts/app", "0.1.0")
	contains(t, "manifest", string(body), "application/vnd.cncf.helm.config.v1+json")

	sh.Write(t, "out/nothing", "") // helm wants the folder to be there
	run("pull", "--plain-http", "-d", sh.Path("out"), charts+"/app", "--version", "0.1.0")
	sameFile(t, sh.Path("out", "app-0.1.0.tgz"), sh.Path("app-0.1.0.tgz"))
	run("pull", "--plain-http", "-d", sh.Path("out"), charts+"/app", "--version", "0.2.0+build.7")
	sameFile(t, sh.Path("out", "app-0.2.0+build.7.tgz"), sh.Path("app-0.2.0+build.7.tgz"))
	contains(t, "show chart", run("show", "chart", "--plain-http", charts+"/app"), "name: app") // the newest: helm reads the tags
	contains(t, "template", run("template", "--plain-http", "x", charts+"/app", "--version", "0.1.0"), "kind: Deployment")

	run("registry", "logout", s.Addr)
	sh.Refused(t, bin, "pull", "--plain-http", "-d", sh.Path("out"), charts+"/app", "--version", "0.1.0")
}
