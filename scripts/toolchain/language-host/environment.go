package main

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// environment is the Python environment that a project file names with its runtime options.
type environment struct {
	toolchain.Toolchain

	info       *pulumirpc.ProgramInfo
	virtualenv string // the option as written; empty for the Python on PATH
}

// newEnvironment reads the runtime options. The environment need not exist yet.
func newEnvironment(info *pulumirpc.ProgramInfo) (*environment, error) {
	if info == nil {
		return nil, status.Error(codes.InvalidArgument, "the engine sent no program information")
	}
	options := toolchain.PythonOptions{Root: info.RootDirectory, ProgramDir: info.ProgramDirectory}
	for name, value := range info.GetOptions().AsMap() {
		text, isText := value.(string)
		if !isText {
			return nil, badOption(name, value, "give it a string")
		}
		switch name {
		case "virtualenv":
			options.Virtualenv = text
		case "toolchain":
			switch strings.ToLower(text) {
			case "auto":
				options.Toolchain = toolchain.Auto
			case "pip":
				options.Toolchain = toolchain.Pip
			case "poetry":
				options.Toolchain = toolchain.Poetry
			case "uv":
				options.Toolchain = toolchain.Uv
			default:
				return nil, badOption(name, value, "known are auto, pip, poetry and uv")
			}
		case "typechecker":
			if text != "" && !strings.EqualFold(text, "none") {
				return nil, badOption(name, value, "this language host runs no type checker: remove it")
			}
		}
	}
	chain, err := toolchain.ResolveToolchain(options)
	if err != nil {
		return nil, err
	}
	return &environment{Toolchain: chain, info: info, virtualenv: options.Virtualenv}, nil
}

// existingEnvironment is newEnvironment for calls that run Python: it refuses an environment that is not there.
func existingEnvironment(ctx context.Context, info *pulumirpc.ProgramInfo) (*environment, error) {
	env, err := newEnvironment(info)
	if err != nil {
		return nil, err
	}
	// The toolchain's own error advises a bare pip; the project's own way is better where it has one.
	if env.virtualenv != "" {
		path := env.virtualenv
		if !filepath.IsAbs(path) {
			path = filepath.Join(info.RootDirectory, path)
		}
		if _, err := os.Stat(path); os.IsNotExist(err) {
			return nil, status.Errorf(codes.FailedPrecondition,
				"the project file in %s names the virtual environment %q, and %s does not exist: create it with `%s`",
				info.RootDirectory, env.virtualenv, path, remedy(info.RootDirectory))
		}
		if !toolchain.IsVirtualEnv(path) {
			return nil, status.Errorf(codes.FailedPrecondition,
				"the project file in %s names the virtual environment %q, and %s has no bin/python: create it anew with `%s`",
				info.RootDirectory, env.virtualenv, path, remedy(info.RootDirectory))
		}
	}
	if err := env.ValidateVenv(ctx); err != nil {
		return nil, err
	}
	return env, nil
}

func badOption(name string, value any, advice string) error {
	return status.Errorf(codes.InvalidArgument, "runtime option %s: %v is not understood: %s", name, value, advice)
}

// remedy is the command that makes a project's environment: its own scripts/bootstrap, in the folder or
// above it, or else the engine's.
func remedy(root string) string {
	for folder := root; ; folder = filepath.Dir(folder) {
		script := filepath.Join(folder, "scripts", "bootstrap")
		if info, err := os.Stat(script); err == nil && info.Mode()&fs.FileMode(0o111) != 0 && !info.IsDir() {
			if folder == root {
				return "scripts/bootstrap"
			}
			return script
		}
		if folder == filepath.Dir(folder) {
			return fmt.Sprintf("pulumi -C %s install", root)
		}
	}
}
