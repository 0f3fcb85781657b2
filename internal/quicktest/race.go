//go:build race

package quicktest

const raceDetector = true
