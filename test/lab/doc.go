// Package lab tries the services of internal/lab that no other tests stand on yet: the directory and the balancer. It has tests only.
package lab
