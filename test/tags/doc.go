// Package tags lets clients move and read tags through the nodes of a registry whose servers may fail at any moment, and asks whether one order explains all that they saw.
package tags
