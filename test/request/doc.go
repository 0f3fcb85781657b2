// Package request speaks to a registry that may die, hang or be cut off at any moment: one request at a time, and what a push is made of.
package request
