// Package docs runs the commands that the documentation shows. It has tests only.
package docs
