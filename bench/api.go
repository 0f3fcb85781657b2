package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// What is measured of the rest of Havn: tokens, lists and quotas. There is nobody beside it that runs on so little.

const (
	projectCount     = 10_000
	membershipCount  = 2_000
	quotaOfTheBench  = 1 << 50 // far away: what counts is that there is one
	benchUser        = "bench"
	listedPerPage    = 100
	clientsOfPrepare = 32
)

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

var adminAuth = basic("admin", password)

// call sends a request of Harbor's API and reads its answer into a value, if one is given.
func call(c *client, method, path string, body, into any, status int) error {
	var text []byte
	kind := ""
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return err
		}
		kind = "application/json"
	}
	a, err := c.do(method, "/api/v2.0"+path, kind, text, true)
	if err = expect(a, err, method+" "+path, status); err != nil {
		return errors.Join(err, errors.New(string(a.body)))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(a.body, into)
}

// robotTokens has robot accounts get tokens, as CI does before each push.
func robotTokens(s *site) (operation, error) {
	c := newClient(s.addrs[0], nil, adminAuth)
	defer c.close()
	access := []map[string]string{{"resource": "repository", "action": "pull"}, {"resource": "repository", "action": "push"}}
	var robot struct{ Name, Secret string }
	err := call(c, "POST", "/robots", map[string]any{
		"name": "bench", "level": "project", "duration": 30, "permissions": []map[string]any{{"kind": "project", "namespace": "library", "access": access}},
	}, &robot, 201)
	s.auth = basic(robot.Name, robot.Secret)
	path := "/service/token?service=harbor-registry&scope=" + url.QueryEscape("repository:"+repo+":pull,push")
	return func(c *client, _ int) error {
		a, cause := c.do("GET", path, "", nil, false)
		return expect(a, cause, "get a token", 200)
	}, err
}

// projectPage lists a hundred of very many projects, as somebody who is a member of a fifth of them.
func projectPage(s *site) (operation, error) {
	s.auth = adminAuth
	create := func(c *client, number int) error {
		return call(c, "POST", "/projects", map[string]any{"project_name": fmt.Sprintf("p%05d", number)}, nil, 201)
	}
	if _, _, err := burst(s, create, clientsOfPrepare, 0, projectCount, time.Hour); err != nil {
		return nil, fmt.Errorf("make %d projects: %w", projectCount, err)
	}
	c := newClient(s.addrs[0], nil, adminAuth)
	defer c.close()
	if err := call(c, "POST", "/users", map[string]string{"username": benchUser, "password": password + "A", "email": "bench@example.com", "realname": "bench"}, nil, 201); err != nil {
		return nil, err
	}
	join := func(c *client, number int) error {
		project := fmt.Sprintf("p%05d", number*(projectCount/membershipCount))
		return call(c, "POST", "/projects/"+project+"/members", map[string]any{"role_id": 2, "member_user": map[string]string{"username": benchUser}}, nil, 201)
	}
	if _, _, err := burst(s, join, clientsOfPrepare, 0, membershipCount, time.Hour); err != nil {
		return nil, fmt.Errorf("join %d projects: %w", membershipCount, err)
	}
	s.auth = basic(benchUser, password+"A")
	return func(c *client, _ int) error {
		var page []json.RawMessage
		err := call(c, "GET", fmt.Sprintf("/projects?page_size=%d&page=5", listedPerPage), nil, &page, 200)
		if err == nil && len(page) != listedPerPage {
			err = fmt.Errorf("%d projects on a page, want %d", len(page), listedPerPage)
		}
		return err
	}, nil
}

// limited logs in to a Havn whose project has a quota.
func limited(addr, repo string) (string, error) {
	c := newClient(addr, nil, adminAuth)
	defer c.close()
	var quotas []struct {
		ID  int64
		Ref struct{ Name string }
	}
	var library struct {
		ID int64 `json:"project_id"`
	}
	if err := call(c, "GET", "/projects/library", nil, &library, 200); err != nil {
		return "", err
	}
	if err := call(c, "GET", fmt.Sprintf("/quotas?reference=project&reference_id=%d", library.ID), nil, &quotas, 200); err != nil {
		return "", err
	}
	if len(quotas) != 1 {
		return "", fmt.Errorf("%d quotas of library", len(quotas))
	}
	if err := call(c, "PUT", fmt.Sprintf("/quotas/%d", quotas[0].ID), map[string]any{"hard": map[string]int64{"storage": quotaOfTheBench}}, nil, 200); err != nil {
		return "", err
	}
	return loginHavn(addr, repo)
}
