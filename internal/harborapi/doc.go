// Package harborapi serves Harbor's REST API v2.0 below /api/v2.0, and its document and reference at /devcenter-api-2.0; and below /c/ the logins of browsers. What there is, openapi.yaml says: types, the interface of what
// works and the table of all operations are generated from it (make generate). An operation that does not work yet answers 501 and says which work brings it.
//
// A request passes, in this order: its path and method; who asks (Basic, or a session's cookie with its CSRF token); what the operation needs of him; its parameters and body; the
// operation. What is below /c/ asks who it is where it needs that: browsers come there to log in. An error at any of them ends in API.refuse, in Harbor's form.
package harborapi
