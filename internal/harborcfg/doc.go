// Package harborcfg reads the harbor.cfg of Harbor 1.5 (and of its neighbours from 1.1 to 1.7, as far as their keys differ) as a configuration of Havn's:
// it says in Havn's keys what the file says, and of every other key of the file what became of it.
//
// The file is read as Harbor's own `prepare` reads it, by the rules of Python 2's RawConfigParser; what Harbor would silently misread is an error here. Which
// keys and drivers this Havn has is asked of package config, so that nothing is claimed that is not there. No value of the file is ever part of a message,
// except for addresses and names that are no secrets: a comma in a password, or a forgotten "=", must not bring a secret into a log.
package harborcfg
