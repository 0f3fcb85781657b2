// Package redis holds the tests of what Havn does with Redis, against real servers: one alone, one watched by Sentinels, and a cluster, while they die, hang and are
// resharded.
package redis
