// Package harbor drives Havn with the client that Harbor's own project publishes for its API, unchanged.
package harbor
