package harbor

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/go-openapi/runtime"
	"github.com/goharbor/go-client/pkg/harbor"
	api "github.com/goharbor/go-client/pkg/sdk/v2.0/client"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/artifact"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/auditlog"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/configure"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/gc"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/health"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/label"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/member"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/permissions"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/ping"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/project"
	metadata "github.com/goharbor/go-client/pkg/sdk/v2.0/client/project_metadata"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/quota"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/repository"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/robot"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/search"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/statistic"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/systeminfo"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/client/user"
	"github.com/goharbor/go-client/pkg/sdk/v2.0/models"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/havn-registry/havn/test/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

const secret = "Passw0rd-of-people"

// to answers a client of somebody.
func to(t *testing.T, s *harness.Server, user, password string) *api.HarborAPI {
	t.Helper()
	set, err := harbor.NewClientSet(&harbor.ClientSetConfig{URL: s.URL, Username: user, Password: password})
	ok(t, err)
	return set.V2()
}

func ok(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused wants the error that the client has for an answer.
func refused[E error](t *testing.T, err error) {
	t.Helper()
	var want E
	if !errors.As(err, &want) {
		t.Fatalf("%T %v, want %T", err, err, want)
	}
}

func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

func ptr[T any](v T) *T { return &v }

// push pushes an image and answers its digest.
func push(t *testing.T, s *harness.Server, ref, user, password string) string {
	t.Helper()
	image, err := random.Image(1024, 2)
	ok(t, err)
	at, err := name.ParseReference(s.Addr + "/" + ref)
	ok(t, err)
	ok(t, remote.Write(at, image, remote.WithAuth(&authn.Basic{Username: user, Password: password}), remote.WithContext(t.Context())))
	digest, err := image.Digest()
	ok(t, err)
	return digest.String()
}

// number answers the number at the end of a Location.
func number(t *testing.T, location string) string {
	t.Helper()
	if !strings.HasPrefix(location, "/api/v2.0/") {
		t.Fatalf("Location %q", location)
	}
	return location[strings.LastIndexByte(location, '/')+1:]
}

func TestHarborsClientDrivesProjectsAndTheirPeople(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	c, ctx := to(t, s, harness.User, harness.Password), t.Context()

	made, err := c.Project.CreateProject(ctx, &project.CreateProjectParams{Project: &models.ProjectReq{ProjectName: "team", StorageLimit: ptr(int64(1 << 30)), Metadata: &models.ProjectMetadata{Public: "false", AutoScan: ptr("true")}}})
	ok(t, err)
	id := number(t, made.Location)
	err = outcome(c.Project.CreateProject(ctx, &project.CreateProjectParams{Project: &models.ProjectReq{ProjectName: "team"}}))
	refused[*project.CreateProjectConflict](t, err)
	err = outcome(c.Project.CreateProject(ctx, &project.CreateProjectParams{Project: &models.ProjectReq{ProjectName: "TEAM"}}))
	refused[*project.CreateProjectBadRequest](t, err)

	got, err := c.Project.GetProject(ctx, &project.GetProjectParams{ProjectNameOrID: id})
	ok(t, err)
	is(t, "name", got.Payload.Name, "team")
	is(t, "auto scan", *got.Payload.Metadata.AutoScan, "true")
	is(t, "owner", got.Payload.OwnerName, harness.User)
	list, err := c.Project.ListProjects(ctx, &project.ListProjectsParams{Name: ptr("tea"), PageSize: ptr(int64(1))})
	ok(t, err)
	is(t, "projects", list.XTotalCount, 1)
	err = outcome(c.Project.HeadProject(ctx, &project.HeadProjectParams{ProjectName: "absent"}))
	refused[*project.HeadProjectNotFound](t, err)
	err = outcome(c.Project.UpdateProject(ctx, &project.UpdateProjectParams{ProjectNameOrID: "team", Project: &models.ProjectReq{Metadata: &models.ProjectMetadata{Public: "true"}}}))
	ok(t, err)
	all, err := c.ProjectMetadata.ListProjectMetadatas(ctx, &metadata.ListProjectMetadatasParams{ProjectNameOrID: "team"})
	ok(t, err)
	is(t, "public", all.Payload["public"], "true")
	err = outcome(c.ProjectMetadata.AddProjectMetadatas(ctx, &metadata.AddProjectMetadatasParams{ProjectNameOrID: "team", Metadata: map[string]string{"severity": "high"}}))
	ok(t, err)

	person, err := c.User.CreateUser(ctx, &user.CreateUserParams{UserReq: &models.UserCreationReq{Username: "maria", Password: secret, Email: "maria@example.com", Realname: "Maria"}})
	ok(t, err)
	err = outcome(c.User.CreateUser(ctx, &user.CreateUserParams{UserReq: &models.UserCreationReq{Username: "maria", Password: secret, Email: "other@example.com", Realname: "Maria"}}))
	refused[*user.CreateUserConflict](t, err)
	maria := to(t, s, "maria", secret)
	current, err := maria.User.GetCurrentUserInfo(ctx, &user.GetCurrentUserInfoParams{})
	ok(t, err)
	is(t, "user", current.Payload.Username, "maria")
	is(t, "number", number(t, person.Location), number(t, "/api/v2.0/"+itoa(current.Payload.UserID)))
	err = outcome(maria.Member.ListProjectMembers(ctx, &member.ListProjectMembersParams{ProjectNameOrID: "team"}))
	refused[*member.ListProjectMembersForbidden](t, err)
	err = outcome(c.Member.CreateProjectMember(ctx, &member.CreateProjectMemberParams{ProjectNameOrID: "team", ProjectMember: &models.ProjectMember{RoleID: 4, MemberUser: &models.UserEntity{Username: "maria"}}}))
	ok(t, err)
	err = outcome(c.Member.CreateProjectMember(ctx, &member.CreateProjectMemberParams{ProjectNameOrID: "team", ProjectMember: &models.ProjectMember{RoleID: 4, MemberUser: &models.UserEntity{Username: "maria"}}}))
	refused[*member.CreateProjectMemberConflict](t, err)
	members, err := maria.Member.ListProjectMembers(ctx, &member.ListProjectMembersParams{ProjectNameOrID: "team", Entityname: ptr("maria")})
	ok(t, err)
	is(t, "members", len(members.Payload), 1)
	is(t, "role", members.Payload[0].RoleName, "maintainer")
	err = outcome(c.Member.UpdateProjectMember(ctx, &member.UpdateProjectMemberParams{ProjectNameOrID: "team", Mid: members.Payload[0].ID, Role: &models.RoleRequest{RoleID: 1}}))
	ok(t, err)
	sum, err := maria.Project.GetProjectSummary(ctx, &project.GetProjectSummaryParams{ProjectNameOrID: "team"})
	ok(t, err)
	is(t, "limit", sum.Payload.Quota.Hard["storage"], 1<<30)
	found, err := maria.User.SearchUsers(ctx, &user.SearchUsersParams{Username: "ARI"})
	ok(t, err)
	is(t, "found", found.Payload[0].Username, "maria")
	mine, err := maria.User.GetCurrentUserPermissions(ctx, &user.GetCurrentUserPermissionsParams{Scope: ptr("/project/" + id), Relative: ptr(true)})
	ok(t, err)
	if len(mine.Payload) < 40 {
		t.Fatalf("a project's administrator has %d permissions", len(mine.Payload))
	}
	err = outcome(c.Member.DeleteProjectMember(ctx, &member.DeleteProjectMemberParams{ProjectNameOrID: "team", Mid: members.Payload[0].ID}))
	ok(t, err)
	err = outcome(c.User.DeleteUser(ctx, &user.DeleteUserParams{UserID: current.Payload.UserID}))
	ok(t, err)
	err = outcome(maria.User.GetCurrentUserInfo(ctx, &user.GetCurrentUserInfoParams{}))
	refused[*user.GetCurrentUserInfoUnauthorized](t, err)

	push(t, s, "team/app:1", harness.User, harness.Password)
	err = outcome(c.Project.DeleteProject(ctx, &project.DeleteProjectParams{ProjectNameOrID: "team"}))
	refused[*project.DeleteProjectPreconditionFailed](t, err)
	err = outcome(c.Repository.DeleteRepository(ctx, &repository.DeleteRepositoryParams{ProjectName: "team", RepositoryName: "app"}))
	ok(t, err)
	err = outcome(c.Project.DeleteProject(ctx, &project.DeleteProjectParams{ProjectNameOrID: id}))
	ok(t, err)
	logs, err := c.Auditlog.ListAuditLogs(ctx, &auditlog.ListAuditLogsParams{Q: ptr("resource_type=project"), Sort: ptr("op_time")})
	ok(t, err)
	is(t, "first line", logs.Payload[0].Operation, "create")
}

func itoa(n int64) string {
	const digits = "0123456789"
	if n < 10 {
		return digits[n : n+1]
	}
	return itoa(n/10) + digits[n%10:n%10+1]
}

func TestHarborsClientDrivesRobotsAndWhatTheyPush(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	c, ctx := to(t, s, harness.User, harness.Password), t.Context()
	err := outcome(c.Project.CreateProject(ctx, &project.CreateProjectParams{Project: &models.ProjectReq{ProjectName: "team"}}))
	ok(t, err)
	may := func(resource, action string) *models.Access {
		return &models.Access{Resource: resource, Action: action}
	}
	made, err := c.Robot.CreateRobot(ctx, &robot.CreateRobotParams{Robot: &models.RobotCreate{Name: "ci", Level: "project", Duration: -1, Permissions: []*models.RobotPermission{{
		Kind: "project", Namespace: "team", Access: []*models.Access{may("repository", "pull"), may("repository", "push"), may("artifact", "list"), may("artifact", "read"), may("tag", "create")},
	}}}})
	ok(t, err)
	is(t, "name", made.Payload.Name, "robot$team+ci")
	is(t, "expiry", made.Payload.ExpiresAt, -1)
	digest := push(t, s, "team/tools/app:1", made.Payload.Name, made.Payload.Secret)
	ci := to(t, s, made.Payload.Name, made.Payload.Secret)

	repos, err := c.Repository.ListRepositories(ctx, &repository.ListRepositoriesParams{ProjectName: "team"})
	ok(t, err)
	is(t, "repository", repos.Payload[0].Name, "team/tools/app")
	is(t, "artifacts", repos.Payload[0].ArtifactCount, 1)
	const path = "tools%2Fapp" // the client escapes it once more
	one, err := c.Repository.GetRepository(ctx, &repository.GetRepositoryParams{ProjectName: "team", RepositoryName: path})
	ok(t, err)
	is(t, "repository", one.Payload.Name, "team/tools/app")
	list, err := ci.Artifact.ListArtifacts(ctx, &artifact.ListArtifactsParams{ProjectName: "team", RepositoryName: path, WithTag: ptr(true), WithLabel: ptr(true)})
	ok(t, err)
	is(t, "digest", list.Payload[0].Digest, digest)
	is(t, "tag", list.Payload[0].Tags[0].Name, "1")
	err = outcome(ci.Artifact.CreateTag(ctx, &artifact.CreateTagParams{ProjectName: "team", RepositoryName: path, Reference: digest, Tag: &models.Tag{Name: "stable"}}))
	ok(t, err)
	err = outcome(ci.Artifact.CreateTag(ctx, &artifact.CreateTagParams{ProjectName: "team", RepositoryName: path, Reference: digest, Tag: &models.Tag{Name: "stable"}}))
	refused[*artifact.CreateTagConflict](t, err)
	err = outcome(ci.Artifact.DeleteTag(ctx, &artifact.DeleteTagParams{ProjectName: "team", RepositoryName: path, Reference: "1", TagName: "stable"}))
	refused[*artifact.DeleteTagForbidden](t, err)
	err = outcome(c.Artifact.DeleteTag(ctx, &artifact.DeleteTagParams{ProjectName: "team", RepositoryName: path, Reference: "1", TagName: "stable"}))
	ok(t, err)
	mark, err := c.Label.CreateLabel(ctx, &label.CreateLabelParams{Label: &models.Label{Name: "good", Scope: "g", Color: "#00FF00"}})
	ok(t, err)
	labels, err := c.Label.ListLabels(ctx, &label.ListLabelsParams{Scope: ptr("g")})
	ok(t, err)
	is(t, "label", itoa(labels.Payload[0].ID), number(t, mark.Location))
	err = outcome(c.Artifact.AddLabel(ctx, &artifact.AddLabelParams{ProjectName: "team", RepositoryName: path, Reference: "1", Label: &models.Label{ID: labels.Payload[0].ID}}))
	ok(t, err)
	labelled, err := c.Artifact.GetArtifact(ctx, &artifact.GetArtifactParams{ProjectName: "team", RepositoryName: path, Reference: "1", WithLabel: ptr(true)})
	ok(t, err)
	is(t, "label", labelled.Payload.Labels[0].Name, "good")
	is(t, "type", labelled.Payload.Type, "IMAGE")

	err = outcome(c.Artifact.CopyArtifact(ctx, &artifact.CopyArtifactParams{ProjectName: "library", RepositoryName: "copy", From: "team/tools/app:1"}))
	ok(t, err)
	err = outcome(c.Artifact.DeleteArtifact(ctx, &artifact.DeleteArtifactParams{ProjectName: "library", RepositoryName: "copy", Reference: digest}))
	ok(t, err)
	err = outcome(c.Artifact.GetArtifact(ctx, &artifact.GetArtifactParams{ProjectName: "library", RepositoryName: "copy", Reference: digest}))
	refused[*artifact.GetArtifactNotFound](t, err)

	robots, err := c.Robot.ListRobot(ctx, &robot.ListRobotParams{Q: ptr("Level=project,ProjectID=" + itoa(repos.Payload[0].ProjectID))})
	ok(t, err)
	r := robots.Payload[0]
	r.Disable = true
	err = outcome(c.Robot.UpdateRobot(ctx, &robot.UpdateRobotParams{RobotID: r.ID, Robot: r}))
	ok(t, err)
	err = outcome(ci.Artifact.ListArtifacts(ctx, &artifact.ListArtifactsParams{ProjectName: "team", RepositoryName: path}))
	refused[*artifact.ListArtifactsUnauthorized](t, err)
	fresh, err := c.Robot.RefreshSec(ctx, &robot.RefreshSecParams{RobotID: r.ID, RobotSec: &models.RobotSec{}})
	ok(t, err)
	if fresh.Payload.Secret == "" {
		t.Fatal("no new secret")
	}
	err = outcome(c.Robot.DeleteRobot(ctx, &robot.DeleteRobotParams{RobotID: r.ID}))
	ok(t, err)
	err = outcome(c.Robot.GetRobotByID(ctx, &robot.GetRobotByIDParams{RobotID: r.ID}))
	refused[*robot.GetRobotByIDNotFound](t, err)
}

func TestHarborsClientDrivesTheSystem(t *testing.T) {
	s := harness.Start(t, harness.Options{})
	c, ctx := to(t, s, harness.User, harness.Password), t.Context()
	state, err := c.Health.GetHealth(ctx, &health.GetHealthParams{})
	ok(t, err)
	is(t, "health", state.Payload.Status, "healthy")
	info, err := c.Systeminfo.GetSystemInfo(ctx, &systeminfo.GetSystemInfoParams{})
	ok(t, err)
	is(t, "mode", *info.Payload.AuthMode, "db_auth")
	is(t, "version", strings.HasPrefix(*info.Payload.HarborVersion, "v2.13"), true)
	is(t, "registry", "http://"+*info.Payload.RegistryURL, *info.Payload.ExternalURL)
	pong, err := c.Ping.GetPing(ctx, &ping.GetPingParams{})
	ok(t, err)
	is(t, "ping", pong.Payload, "Pong")
	room, err := c.Systeminfo.GetVolumes(ctx, &systeminfo.GetVolumesParams{})
	ok(t, err)
	if room.Payload.Storage[0].Total == 0 {
		t.Fatal("a disk without room")
	}
	err = outcome(c.Configure.UpdateConfigurations(ctx, &configure.UpdateConfigurationsParams{Configurations: &models.Configurations{ReadOnly: ptr(true), SessionTimeout: ptr(int64(90))}}))
	ok(t, err)
	settings, err := c.Configure.GetConfigurations(ctx, &configure.GetConfigurationsParams{})
	ok(t, err)
	is(t, "read only", settings.Payload.ReadOnly.Value, true)
	is(t, "timeout", settings.Payload.SessionTimeout.Value, 90)
	err = outcome(c.Project.DeleteProject(ctx, &project.DeleteProjectParams{ProjectNameOrID: "library"}))
	refused[*project.DeleteProjectForbidden](t, err)
	err = outcome(c.Configure.UpdateConfigurations(ctx, &configure.UpdateConfigurationsParams{Configurations: &models.Configurations{ReadOnly: ptr(false)}}))
	ok(t, err)
	err = outcome(c.Configure.UpdateConfigurations(ctx, &configure.UpdateConfigurationsParams{Configurations: &models.Configurations{SessionTimeout: ptr(int64(-1))}}))
	var wrong *runtime.APIError
	if err == nil || errors.As(err, &wrong) && wrong.Code != 400 {
		t.Fatalf("a time-out of -1: %v", err)
	}

	quotas, err := c.Quota.ListQuotas(ctx, &quota.ListQuotasParams{Reference: ptr("project")})
	ok(t, err)
	is(t, "limit", quotas.Payload[0].Hard["storage"], -1)
	err = outcome(c.Quota.UpdateQuota(ctx, &quota.UpdateQuotaParams{ID: quotas.Payload[0].ID, Hard: &models.QuotaUpdateReq{Hard: models.ResourceList{"storage": 1 << 20}}}))
	ok(t, err)
	changed, err := c.Quota.GetQuota(ctx, &quota.GetQuotaParams{ID: quotas.Payload[0].ID})
	ok(t, err)
	is(t, "limit", changed.Payload.Hard["storage"], 1<<20)

	found, err := c.Search.Search(ctx, &search.SearchParams{Q: "lib"})
	ok(t, err)
	is(t, "project", found.Payload.Project[0].Name, "library")
	count, err := c.Statistic.GetStatistic(ctx, &statistic.GetStatisticParams{})
	ok(t, err)
	is(t, "projects", count.Payload.TotalProjectCount, 1)
	all, err := c.Permissions.GetPermissions(ctx, &permissions.GetPermissionsParams{})
	ok(t, err)
	if len(all.Payload.System) == 0 || len(all.Payload.Project) == 0 {
		t.Fatal("no permissions")
	}
	err = outcome(c.GC.GetGCHistory(ctx, &gc.GetGCHistoryParams{}))
	var later *runtime.APIError
	if !errors.As(err, &later) || later.Code != 501 {
		t.Fatalf("what does not work yet: %v, want 501", err)
	}
	err = outcome(c.User.ListUsers(context.WithoutCancel(ctx), &user.ListUsersParams{Sort: ptr("-username"), PageSize: ptr(int64(100))}))
	ok(t, err)
}

// outcome answers the error of a call alone: the client's answers are errors too, by their methods.
func outcome[T any](_ T, err error) error { return err }
