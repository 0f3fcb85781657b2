//go:build !race

package quicktest

const raceDetector = false
