// Package engine holds what this folder's programs need to know of the engine that started them.
package engine

import (
	"context"
	"errors"
	"net"
	"syscall"
	"time"
)

// How often a plug-in looks whether its engine lives, and how long it waits for its port.
const (
	interval = time.Second
	patience = 5 * time.Second
)

// Watch returns an error when the engine at address is gone, and nil when ctx ends.
//
// An engine that is killed cannot tell its plug-ins to end, and a plug-in that outlives it goes on creating
// resources that no state records. The engine's port closes with its process, and only then: that of an
// engine which is stopped, as by Ctrl-Z, or too busy to answer is open still, and such an engine may go on.
func Watch(ctx context.Context, address string) error {
	if _, _, err := net.SplitHostPort(address); err != nil {
		return err
	}
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := knock(ctx, address); errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
	}
}

func knock(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	return connection.Close()
}
