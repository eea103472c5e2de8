// Package engine holds what this folder's programs need to know of the engine that started them.
package engine

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// How often a plug-in asks whether its engine lives, and how long it waits for an answer.
const (
	interval = time.Second
	patience = 5 * time.Second
)

// Watch returns an error when the engine at address is gone, and nil when ctx ends. The engine's port closes
// with its process; one that accepts and is silent is stopped or busy, and may go on.
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
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		switch err := check(ctx, client); status.Code(err) {
		case codes.OK, codes.Unimplemented, codes.DeadlineExceeded:
		default:
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
	}
}

func check(ctx context.Context, client healthpb.HealthClient) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := client.Check(ctx, &healthpb.HealthCheckRequest{})
	return err
}
