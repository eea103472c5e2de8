// Command pulumi-language-python runs Pulumi programs and plug-ins that are written in Python.
//
// The engine starts it, reads the port of its gRPC service from its standard output, and calls
// LanguageRuntime methods. Everything it starts ends with it: on SIGINT, SIGTERM or SIGHUP, and within
// seconds when the engine is gone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"coppice/engine/engine"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/grpc"
)

func main() {
	address, err := parseArguments(os.Args[1:])
	if err == nil {
		err = serve(address)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "pulumi-language-python:", err)
		os.Exit(1)
	}
}

// parseArguments returns the engine's address, which is empty when a person attaches an engine to a host
// that is already running. The engine's logging and tracing flags are accepted and not used.
func parseArguments(arguments []string) (string, error) {
	flags := flag.NewFlagSet("pulumi-language-python", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Bool("logtostderr", false, "")
	flags.Bool("logflow", false, "")
	flags.Int("v", 0, "")
	flags.String("tracing", "", "")
	if err := flags.Parse(arguments); err != nil {
		return "", err
	}
	if flags.NArg() > 1 {
		return "", fmt.Errorf("one address is expected, the engine's, and there are %d: %q", flags.NArg(), flags.Args())
	}
	return flags.Arg(0), nil
}

func serve(address string) error {
	executor, err := findExecutor()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()

	host := newHost(address, executor)
	handle, err := rpcutil.ServeWithOptions(rpcutil.ServeOptions{Init: func(server *grpc.Server) error {
		pulumirpc.RegisterLanguageRuntimeServer(server, host)
		return nil
	}})
	if err != nil {
		return err
	}
	gone := make(chan error, 1)
	if address != "" {
		go func() { gone <- engine.Watch(ctx, address) }()
	}
	// The engine waits for this line.
	fmt.Println(handle.Port)

	select {
	case err = <-handle.Done:
	case err = <-gone:
		if err != nil {
			err = fmt.Errorf("the engine at %s is gone: %w", address, err)
		}
	case <-ctx.Done():
	}
	if !host.stop() {
		err = errors.Join(err, errors.New("a Python process did not end"))
	}
	return errors.Join(err, endOwnGroup())
}
