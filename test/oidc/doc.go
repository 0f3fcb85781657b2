// Package oidc holds the tests of logins at an OpenID Connect provider that others wrote and certified: zitadel's, in this process, on the loopback interface.
package oidc
