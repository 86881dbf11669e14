package lab

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Sweep removes what labs have left whose prefix is word and the number of a
// process that is gone: one that was killed before it could clean up. The lab
// with the prefix except stays.
func Sweep(word, except string) error {
	names, err := filepath.Glob("/run/netns/" + word + "*-*")
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range names {
		prefix, host, _ := strings.Cut(filepath.Base(path), "-")
		pid, err := strconv.Atoi(strings.TrimPrefix(prefix, word))
		if err != nil || prefix == except || !Gone(pid) {
			continue
		}
		l, err := Reopen(prefix, os.DevNull, []string{host})
		if err != nil {
			errs = append(errs, err)
			continue
		}
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}
