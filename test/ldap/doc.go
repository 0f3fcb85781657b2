// Package ldap holds the tests of log-ins by a directory, against OpenLDAP: with and without TLS, with groups in groups, with 50,000 people, and while servers die, hang, are slow or have
// a bad certificate.
package ldap
