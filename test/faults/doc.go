// Package faults breaks a running server in many ways while clients push, and then looks at every thing that was acknowledged.
package faults
