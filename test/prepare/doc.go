// Command prepare brings what the tests of this module need: Debian's packages (as root), Azurite from the npm registry and clients
// from the Go module proxy, both of fixed versions, into the user's cache directory. It shows each step, does only what is missing, and can be
// stopped and run again at any time.
//
//	go run ./prepare           everything
//	go run ./prepare debian    Debian's packages only
//	go run ./prepare azurite   Azurite only; it takes Debian's package nodejs
//	go run ./prepare clients   the clients only; helm and cosign take minutes, so do it in the background
package main
