// Package lab runs real services on this machine, for the tests and for `havn lab`: MariaDB, a Galera cluster, PostgreSQL, Redis, a Ceph with
// radosgw, OpenLDAP, HAProxy and nodes of Havn, from Debian's packages, as child processes with data directories and addresses of their own.
//
// Every node listens on a random address of 127.0.0.0/8, so that many labs and anything else can run beside each other. Each
// is killed by the kernel when the process that started it dies; Stop leaves nothing behind. Nothing here is for production:
// passwords are known, and unless a service is called durable its data survives kill -9 of a server (in Redis nothing does), and no power cut.
package lab
