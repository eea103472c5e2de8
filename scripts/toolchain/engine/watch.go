// Package engine holds what this folder's programs need to know of the engine that started them.
package engine

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// How often a plug-in asks whether its engine lives, how long an answer may take, and how many silent
// answers in a row mean that it is gone. A refused connection is final at once: the engine's port closes
// with its process. Silence may be a stopped or overloaded engine, so it is given more time.
const (
	interval     = time.Second
	patience     = 5 * time.Second
	silentAnswer = 6
)

// Watch returns when the engine at address no longer answers, or when ctx ends.
//
// An engine that is killed cannot tell its plug-ins to end, and a plug-in that outlives it goes on creating
// resources that no state records.
func Watch(ctx context.Context, address string) error {
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	client := healthpb.NewHealthClient(conn)

	tick := time.NewTicker(interval)
	defer tick.Stop()
	for silent := 0; silent < silentAnswer; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := check(ctx, client); status.Code(err) {
		case codes.OK, codes.Unimplemented:
			silent = 0
		case codes.DeadlineExceeded:
			silent++
		default:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
	return errors.New("the engine does not answer")
}

func check(ctx context.Context, client healthpb.HealthClient) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}
