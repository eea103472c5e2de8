package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	pulumirpc "github.com/pulumi/pulumi/sdk/v3/proto/go"
	"google.golang.org/protobuf/types/known/structpb"
)

func program(t *testing.T, root string, options map[string]any) *pulumirpc.ProgramInfo {
	t.Helper()
	values, err := structpb.NewStruct(options)
	if err != nil {
		t.Fatal(err)
	}
	return &pulumirpc.ProgramInfo{RootDirectory: root, ProgramDirectory: root, EntryPoint: ".", Options: values}
}

func TestTheVirtualenvIsRelativeToTheProject(t *testing.T) {
	for option, want := range map[string]string{"env": "/project/env", "/else/env": "/else/env"} {
		env, err := newEnvironment(program(t, "/project", map[string]any{"virtualenv": option}))
		if err != nil {
			t.Fatal(err)
		}
		if path, err := env.VirtualEnvPath(context.Background()); path != want || err != nil {
			t.Errorf("%s: %s, %v", option, path, err)
		}
	}
}

func TestOptionsThatAreNotUnderstoodAreRefused(t *testing.T) {
	for name, value := range map[string]any{"toolchain": "conda", "typechecker": "mypy", "virtualenv": 1.0} {
		_, err := newEnvironment(program(t, "/project", map[string]any{name: value}))
		if err == nil || !strings.Contains(err.Error(), "runtime option "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := newEnvironment(nil); err == nil {
		t.Error("a program without information was taken")
	}
}

func TestAMissingEnvironmentNamesItsRemedy(t *testing.T) {
	root := t.TempDir()
	check := func(root, want string) {
		t.Helper()
		_, err := existingEnvironment(context.Background(), program(t, root, map[string]any{"virtualenv": ".venv"}))
		if err == nil || !strings.Contains(err.Error(), "`"+want+"`") {
			t.Errorf("%v", err)
		}
	}
	check(root, "pulumi -C "+root+" install")
	script := filepath.Join(root, "scripts", "bootstrap")
	if err := os.MkdirAll(filepath.Dir(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(script, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	check(root, "scripts/bootstrap")
	check(filepath.Join(root, "policies"), script)
}

func TestArguments(t *testing.T) {
	for _, arguments := range [][]string{{"127.0.0.1:1"}, {"--logtostderr", "-v=9", "--tracing", "x", "127.0.0.1:1"}} {
		if address, err := parseArguments(arguments); address != "127.0.0.1:1" || err != nil {
			t.Errorf("%q: %s, %v", arguments, address, err)
		}
	}
	for _, arguments := range [][]string{{"a", "b"}, {"--no-such-flag"}} {
		if _, err := parseArguments(arguments); err == nil {
			t.Errorf("%q was taken", arguments)
		}
	}
}
