// Package scale lays a registry of a million manifests and tags in the database and looks how the program starts on it and
// how its lists answer. It has tests only.
package scale
