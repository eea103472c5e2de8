package main

import (
	"context"
	"errors"

	"os/exec"
	"path/filepath"

	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// RunPlugin runs a policy pack, or any other plug-in whose folder is a Python program, until it ends or the
// engine lets go of the call. Its output and exit code are streamed back.
func (h *host) RunPlugin(request *pulumirpc.RunPluginRequest, stream pulumirpc.LanguageRuntime_RunPluginServer) error {
	ctx, end := h.begin(stream.Context())
	defer end()

	env, err := existingEnvironment(ctx, request.Info)
	if err != nil {
		return err
	}
	command, err := env.Command(ctx, pluginArguments(request)...)
	if err != nil {
		return err
	}
	if command.Env, err = pluginVariables(ctx, env, request, command); err != nil {
		return err
	}
	command.Dir = request.Pwd
	closer, stdout, stderr, err := rpcutil.MakeRunPluginStreams(stream, false)
	if err != nil {
		return err
	}
	command.Stdout, command.Stderr = stdout, stderr

	runErr := runGroup(command)
	if err := closer.Close(); err != nil {
		return err
	}
	var exit *exec.ExitError
	switch {
	case runErr == nil, ctx.Err() != nil:
		return nil
	case errors.As(runErr, &exit):
		return stream.Send(&pulumirpc.RunPluginResponse{
			Output: &pulumirpc.RunPluginResponse_Exitcode{Exitcode: int32(exit.ExitCode())},
		})
	default:
		return runErr
	}
}

func pluginArguments(request *pulumirpc.RunPluginRequest) []string {
	// -u: the engine waits for the port that a plug-in prints.
	arguments := []string{"-u"}
	if request.Kind == string(apitype.AnalyzerPlugin) {
		arguments = append(arguments, "-m", "pulumi.policy")
		arguments = append(arguments, request.Args...)
		return append(arguments, request.Info.ProgramDirectory)
	}
	entry := request.Info.EntryPoint
	if entry == "" {
		entry = "."
	}
	arguments = append(arguments, filepath.Join(request.Info.ProgramDirectory, entry))
	return append(arguments, request.Args...)
}

// pluginVariables is the environment that the engine asks for, with the virtual environment activated in it.
func pluginVariables(
	ctx context.Context, env *environment, request *pulumirpc.RunPluginRequest, command *exec.Cmd,
) ([]string, error) {
	if len(request.Env) == 0 {
		return environmentOf(command), nil
	}
	path, err := env.VirtualEnvPath(ctx)
	if err != nil || path == "" {
		return request.Env, err
	}
	return toolchain.ActivateVirtualEnv(request.Env, path), nil
}
