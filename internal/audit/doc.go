// Package audit keeps who did what, when and from where: in the database, and by syslog (RFC 5424) where administrators want it too.
package audit
