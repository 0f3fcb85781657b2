// Package harness runs the program and other real things for tests: Havn on a fresh data directory, daemons and commands in
// namespaces of their own, a private certificate authority. Whatever it starts ends with the test, also when the test is killed;
// what it started shows its output when the test fails.
//
// A package that uses it has
//
//	func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }
package harness
