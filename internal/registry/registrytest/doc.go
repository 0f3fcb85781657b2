// Package registrytest tests a registry on any engine and any store: Run is the suite that all pass, CheckInvariants says whether database and store are what
// DESIGN.md promises, Faults fails single steps.
package registrytest
