package config

import "strings"

// maxNearest is the longest word that is compared: longer ones are no typing mistakes of ours, and the comparison is quadratic.
const maxNearest = 80

// Nearest answers which of the words the given one was probably meant to be.
func Nearest(word string, words []string) (string, bool) {
	if len(word) > maxNearest {
		return "", false
	}
	best, found := len(word)/3+2, ""
	for _, w := range words {
		if d := distance(strings.ToLower(word), strings.ToLower(w)); d < best {
			best, found = d, w
		}
	}
	return found, found != ""
}

// distance counts the letters to insert, delete, replace or swap with their neighbour to make b of a.
func distance(a, b string) int {
	prev, line, next := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range line {
		line[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			next[j] = min(line[j]+1, next[j-1]+1, line[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], prev[j-2]+1)
			}
		}
		prev, line, next = line, next, prev
	}
	return line[len(b)]
}
