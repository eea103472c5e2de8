package installed

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/python/toolchain"
)

// Plugin is an engine's plug-in that an installed package needs.
type Plugin struct {
	Name             string
	Version          string // semantic; empty for any
	Server           string // where to download it from; empty for the default
	Parameterization *Parameterization
}

// Parameterization makes one plug-in serve another package.
type Parameterization struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	Value   []byte `json:"value"` // base64 in the file
}

// Plugins reads the plug-in files of distributions.
func Plugins(distributions []Distribution) ([]Plugin, error) {
	var plugins []Plugin
	for _, distribution := range distributions {
		for _, path := range distribution.Plugins {
			content, err := os.ReadFile(path)
			if err != nil {
				return nil, fmt.Errorf("%s %s is not installed completely: %w", distribution.Name, distribution.Version, err)
			}
			plugin, err := parsePlugin(content, distribution)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			if plugin != nil {
				plugins = append(plugins, *plugin)
			}
		}
	}
	return plugins, nil
}

// parsePlugin is nil for a package that says it needs no plug-in. What the file leaves out is taken from the
// distribution.
func parsePlugin(content []byte, distribution Distribution) (*Plugin, error) {
	var file struct {
		Resource         bool              `json:"resource"`
		Name             string            `json:"name"`
		Version          string            `json:"version"`
		Server           string            `json:"server"`
		Parameterization *Parameterization `json:"parameterization"`
	}
	if err := json.Unmarshal(content, &file); err != nil {
		return nil, err
	}
	if !file.Resource {
		return nil, nil
	}
	plugin := &Plugin{
		Name: file.Name, Version: file.Version, Server: file.Server, Parameterization: file.Parameterization,
	}
	if plugin.Name == "" {
		plugin.Name = strings.TrimPrefix(distribution.Name, "pulumi-")
	}
	if plugin.Version == "" {
		version, err := toolchain.ParsePythonVersion(distribution.Version)
		if err != nil {
			return nil, fmt.Errorf("the version of %s: %w", distribution.Name, err)
		}
		plugin.Version = version.String()
	}
	return plugin, nil
}
