// Package oidc lets people log in at an OpenID Connect provider: the code flow with PKCE, as a relying party.
//
// What must survive between the redirect to the provider and the callback travels in a cookie, sealed with the cluster's secret: any node finishes what another began,
// and there is no session to lose. A provider that does not answer stops nobody but those who want to log in there just then: it is looked for when it is first needed.
//
// Who somebody is, is the provider's issuer and subject, never a name or an address: those people can often change themselves.
package oidc
