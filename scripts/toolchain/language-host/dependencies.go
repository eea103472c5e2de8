package main

import (
	"context"
	"fmt"

	"coppice/engine/language-host/installed"

	"github.com/pulumi/pulumi/sdk/v3/go/common/util/rpcutil"
	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// InstallDependencies makes the project's environment with its toolchain, showing what the toolchain shows.
func (h *host) InstallDependencies(
	request *pulumirpc.InstallDependenciesRequest, stream pulumirpc.LanguageRuntime_InstallDependenciesServer,
) error {
	ctx, end := h.begin(stream.Context())
	defer end()

	env, err := newEnvironment(request.Info)
	if err != nil {
		return err
	}
	closer, stdout, stderr, err := rpcutil.MakeInstallDependenciesStreams(stream, request.IsTerminal)
	if err != nil {
		return err
	}
	installErr := env.InstallDependencies(
		ctx, request.Info.ProgramDirectory, request.UseLanguageVersionTools, true, stdout, stderr)
	if err := closer.Close(); installErr == nil {
		installErr = err
	}
	return installErr
}

// About says which Python runs the program, and what manages its packages.
func (h *host) About(ctx context.Context, request *pulumirpc.AboutRequest) (*pulumirpc.AboutResponse, error) {
	env, err := existingEnvironment(ctx, request.Info)
	if err != nil {
		return nil, err
	}
	about, err := env.Toolchain.About(ctx)
	if err != nil {
		return nil, err
	}
	metadata := map[string]string{}
	if env.virtualenv != "" {
		metadata["virtualenv"] = env.virtualenv
	}
	return &pulumirpc.AboutResponse{
		Executable: about.PythonExecutable,
		Version:    about.PythonVersion.String(),
		Metadata:   metadata,
	}, nil
}

// GetProgramDependencies lists the distributions in the environment: all of them, or those that no other requires.
func (h *host) GetProgramDependencies(
	ctx context.Context, request *pulumirpc.GetProgramDependenciesRequest,
) (*pulumirpc.GetProgramDependenciesResponse, error) {
	distributions, err := h.distributions(ctx, request.Info)
	if err != nil {
		return nil, err
	}
	if !request.TransitiveDependencies {
		distributions = installed.TopLevel(distributions)
	}
	response := &pulumirpc.GetProgramDependenciesResponse{}
	for _, distribution := range distributions {
		response.Dependencies = append(response.Dependencies, &pulumirpc.DependencyInfo{
			Name: distribution.Name, Version: distribution.Version,
		})
	}
	return response, nil
}

// GetRequiredPackages lists the plug-ins that the installed packages say they need.
func (h *host) GetRequiredPackages(
	ctx context.Context, request *pulumirpc.GetRequiredPackagesRequest,
) (*pulumirpc.GetRequiredPackagesResponse, error) {
	plugins, err := h.plugins(ctx, request.Info)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetRequiredPackagesResponse{}
	for _, plugin := range plugins {
		dependency := &pulumirpc.PackageDependency{
			Kind: "resource", Name: plugin.Name, Version: plugin.Version, Server: plugin.Server,
		}
		if p := plugin.Parameterization; p != nil {
			dependency.Parameterization = &pulumirpc.PackageParameterization{
				Name: p.Name, Version: p.Version, Value: p.Value,
			}
		}
		response.Packages = append(response.Packages, dependency)
	}
	return response, nil
}

// GetRequiredPlugins is GetRequiredPackages for older engines.
func (h *host) GetRequiredPlugins(
	ctx context.Context, request *pulumirpc.GetRequiredPluginsRequest,
) (*pulumirpc.GetRequiredPluginsResponse, error) {
	plugins, err := h.plugins(ctx, request.Info)
	if err != nil {
		return nil, err
	}
	response := &pulumirpc.GetRequiredPluginsResponse{}
	for _, plugin := range plugins {
		response.Plugins = append(response.Plugins, &pulumirpc.PluginDependency{
			Kind: "resource", Name: plugin.Name, Version: plugin.Version, Server: plugin.Server,
		})
	}
	return response, nil
}

func (h *host) plugins(ctx context.Context, info *pulumirpc.ProgramInfo) ([]installed.Plugin, error) {
	distributions, err := h.distributions(ctx, info)
	if err != nil {
		return nil, err
	}
	return installed.Plugins(distributions)
}

func (h *host) distributions(ctx context.Context, info *pulumirpc.ProgramInfo) ([]installed.Distribution, error) {
	ctx, end := h.begin(ctx)
	defer end()
	env, err := existingEnvironment(ctx, info)
	if err != nil {
		return nil, err
	}
	folders, err := importFolders(ctx, env.Toolchain)
	if err != nil {
		return nil, err
	}
	return installed.Scan(folders)
}

// importFolders are the folders in which Python looks for packages. A virtual environment's are known
// without starting Python, which would make every preview slower.
func importFolders(ctx context.Context, chain toolchain.Toolchain) ([]string, error) {
	path, err := chain.VirtualEnvPath(ctx)
	if err != nil {
		return nil, err
	}
	if path != "" {
		if folders, complete := installed.VirtualenvFolders(path); complete {
			return folders, nil
		}
	}
	command, err := chain.Command(ctx, "-c", `import sys; print("\0".join(p for p in sys.path[1:] if p), end="")`)
	if err != nil {
		return nil, err
	}
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("asking %s for its import folders: %w", command.Path, err)
	}
	return installed.SplitPaths(string(output)), nil
}
