// Package ldap knows names and passwords from a directory: OpenLDAP, Active Directory and what else speaks LDAP 3. It implements access.Provider, and searches people and
// groups for those who administer projects. DESIGN.md says how groups in groups are found and what becomes of connections.
package ldap
