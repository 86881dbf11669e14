package config

import "strings"

// suggest returns the candidate nearest to word, or nothing if none is near
// enough to be what the user meant.
func suggest(word string, candidates []string) string {
	word = strings.ToLower(word)
	best, limit := "", 1+len(word)/5
	if limit > 3 {
		limit = 3
	}
	for _, c := range candidates {
		if d := distance(word, strings.ToLower(c), limit); d <= limit && c != "" {
			if d < limit || best == "" {
				best = c
			}
			limit = d
			if d == 0 {
				break
			}
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours between two words, up to limit+1.
func distance(a, b string, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}

func didYouMean(word string, candidates []string) string {
	if s := suggest(word, candidates); s != "" {
		return "did you mean " + s + "?"
	}
	return ""
}
