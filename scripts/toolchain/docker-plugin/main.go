// Command pulumi-resource-docker serves the Docker provider to the engine, under the resource types of the
// Python package pulumi_docker.
//
// It is the Terraform provider that pulumi_docker's own plug-in also bridges, without the resources which
// that plug-in adds: an image is built with docker.RemoteImage(build=...), not with docker.Image.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"unicode"

	"coppice/engine/engine"

	"github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfbridge"
	shimv2 "github.com/pulumi/pulumi-terraform-bridge/v3/pkg/tfshim/sdk-v2"
	"github.com/pulumi/pulumi/sdk/v3/go/common/tokens"
	"github.com/terraform-providers/terraform-provider-docker/shim"
)

const (
	name = "docker"
	// version is the Python package's: the engine looks for the plug-in of the version that a package names.
	version = "5.2.0"
	schema  = `{"name":"` + name + `","version":"` + version + `"}`
)

func token(resource string) tokens.Type {
	file := string(unicode.ToLower(rune(resource[0]))) + resource[1:]
	return tokens.Type(name + ":index/" + file + ":" + resource)
}

func provider() tfbridge.ProviderInfo {
	info := tfbridge.ProviderInfo{
		P:       shimv2.NewProvider(shim.NewProvider()),
		Name:    name,
		Version: version,
		Config: map[string]*tfbridge.SchemaInfo{
			"registry_auth": {Name: "registryAuth", MaxItemsOne: tfbridge.False()},
		},
		// The names that are spelled out are those which the bridge would make plural or singular, other
		// than the Python package does.
		Resources: map[string]*tfbridge.ResourceInfo{
			"docker_container": {
				Tok:                 token("Container"),
				DeleteBeforeReplace: true,
				Fields: map[string]*tfbridge.SchemaInfo{
					"command":           {Name: "command"},
					"networks_advanced": {Name: "networksAdvanced"},
				},
			},
			"docker_image": {
				Tok:    token("RemoteImage"),
				Fields: map[string]*tfbridge.SchemaInfo{"name": {Name: "name"}},
			},
			"docker_network":        {Tok: token("Network")},
			"docker_volume":         {Tok: token("Volume")},
			"docker_tag":            {Tok: token("Tag")},
			"docker_registry_image": {Tok: token("RegistryImage")},
			"docker_secret":         {Tok: token("Secret")},
			"docker_service":        {Tok: token("Service")},
			"docker_config":         {Tok: token("ServiceConfig")},
			"docker_plugin":         {Tok: token("Plugin")},
		},
	}
	info.SetAutonaming(255, "-")
	return info
}

// endWithEngine ends this process when the engine is gone. The engine's address is the last argument.
func endWithEngine() {
	address := os.Args[len(os.Args)-1]
	if len(os.Args) < 2 || strings.HasPrefix(address, "-") {
		return
	}
	go func() {
		err := engine.Watch(context.Background(), address)
		fmt.Fprintf(os.Stderr, "pulumi-resource-docker: the engine at %s is gone: %v\n", address, err)
		os.Exit(1)
	}()
}

func main() {
	endWithEngine()
	tfbridge.Main(name, version, provider(), []byte(schema))
}
