package main

import (
	"context"
	"errors"

	"cygnet/internal/lab"
)

func upStrongSwan(ctx context.Context, l *lab.Lab, _ string) ([]int, error) {
	return nil, errors.New("pending")
}
