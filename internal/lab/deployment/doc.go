// Package deployment is the whole deployment of Harbor's HA guide on one machine, with Havn in Harbor's place: three nodes of Havn behind HAProxy, three of Galera (or PostgreSQL), a Redis Cluster
// (or Sentinels), a small Ceph with radosgw, and OpenLDAP. One process, Run, starts all of it as child processes and looks after them; the other verbs reach it through a socket in its directory.
//
// It is for trying things out: whatever it made goes away at its end.
package deployment
