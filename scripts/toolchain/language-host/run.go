package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
)

// errorShown is the exit code with which the executor says that it has shown the error itself.
const errorShown = 32

// Run runs a program to its end. A program that fails is an answer, not an error of the call.
func (h *host) Run(ctx context.Context, request *pulumirpc.RunRequest) (*pulumirpc.RunResponse, error) {
	ctx, end := h.begin(ctx)
	defer end()

	env, err := existingEnvironment(ctx, request.Info)
	if err != nil {
		return nil, err
	}
	command, err := env.Command(ctx, h.runArguments(request)...)
	if err != nil {
		return nil, err
	}
	configuration, err := configurationVariables(request)
	if err != nil {
		return nil, err
	}
	command.Env = append(environmentOf(command), configuration...)
	// The engine shows what a plug-in writes, so the program writes to the same files.
	command.Stdout, command.Stderr = os.Stdout, os.Stderr

	err = runGroup(command)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		// Who cancelled knows why; an error of ours would only say that a signal arrived.
		return &pulumirpc.RunResponse{Bail: true}, nil
	case err == nil:
		return &pulumirpc.RunResponse{}, nil
	case errors.As(err, &exit) && exit.ExitCode() == errorShown:
		return &pulumirpc.RunResponse{Bail: true}, nil
	case errors.As(err, &exit) && exit.ExitCode() >= 0:
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("the program exited with code %d", exit.ExitCode())}, nil
	case errors.As(err, &exit):
		return &pulumirpc.RunResponse{Error: fmt.Sprintf("the program was ended by a signal (%s)", exit.ProcessState)}, nil
	default:
		return nil, fmt.Errorf("running the program with %s: %w", command.Path, err)
	}
}

func (h *host) runArguments(request *pulumirpc.RunRequest) []string {
	// -u: what a program prints is shown when it is printed.
	arguments := []string{
		"-u", h.executor,
		"--monitor", request.MonitorAddress,
		"--engine", h.engineAddress(),
		"--project", request.Project,
		"--root_directory", request.Info.RootDirectory,
		"--stack", request.Stack,
		"--pwd", request.Pwd,
		"--organization", request.Organization,
		"--parallel", strconv.Itoa(int(request.Parallel)),
	}
	if request.DryRun {
		arguments = append(arguments, "--dry_run", "true")
	}
	entry := request.Info.EntryPoint
	if entry == "" {
		entry = "."
	}
	arguments = append(arguments, filepath.Join(request.Info.ProgramDirectory, entry))
	return append(arguments, request.Args...)
}

func configurationVariables(request *pulumirpc.RunRequest) ([]string, error) {
	config, secret := request.Config, request.ConfigSecretKeys
	if config == nil {
		config = map[string]string{}
	}
	if secret == nil {
		secret = []string{}
	}
	configJSON, err := json.Marshal(config)
	if err != nil {
		return nil, fmt.Errorf("encoding the configuration: %w", err)
	}
	secretJSON, err := json.Marshal(secret)
	if err != nil {
		return nil, fmt.Errorf("encoding the names of the secret configuration: %w", err)
	}
	return []string{"PULUMI_CONFIG=" + string(configJSON), "PULUMI_CONFIG_SECRET_KEYS=" + string(secretJSON)}, nil
}

// environmentOf makes explicit that a command without variables inherits this process's.
func environmentOf(command *exec.Cmd) []string {
	if command.Env != nil {
		return command.Env
	}
	return os.Environ()
}
