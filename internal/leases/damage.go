package leases

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// aside is where a file goes that cannot be read.
const aside = ".damaged"

// openSound opens a database that is sound all through. One that is not, after
// a bad disk or from another program, is put aside and a new one made: a gateway
// gives out addresses without its memory rather than not at all. damaged is told.
func openSound(name string, damaged func(error)) (*bbolt.DB, error) {
	db, err := openWhole(name)
	if err == nil || errors.Is(err, bolterrors.ErrTimeout) || isOfSystem(err) {
		return db, err
	}
	if err := os.Rename(name, name+aside); err != nil {
		return nil, fmt.Errorf("put damaged file aside: %w", err)
	}
	damaged(fmt.Errorf("%s cannot be read (%w): it is %s now, and leases are forgotten", name, err, name+aside))
	return openWhole(name)
}

// isOfSystem reports whether the system refused, whatever is in the file.
func isOfSystem(err error) bool {
	var p *fs.PathError
	return errors.As(err, &p)
}

// openWhole opens a database and reads all of it once.
func openWhole(name string) (db *bbolt.DB, err error) {
	err = guarded(func() (err error) {
		db, err = bbolt.Open(name, 0o600, &bbolt.Options{Timeout: openTime})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	err = guarded(func() error {
		return db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists(bucket)
			if err != nil {
				return err
			}
			return b.ForEach(func(k, v []byte) error {
				parse(k, v)
				return nil
			})
		})
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", name, err), guarded(db.Close))
	}
	return db, nil
}

// guarded runs f and makes an error of its panic: bbolt reads its file as
// memory, and meets in one that was cut or changed faults where others have
// errors.
func guarded(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("damaged: %v", r)
		}
	}()
	return f()
}
