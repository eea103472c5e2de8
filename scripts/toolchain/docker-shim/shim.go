// Package shim gives out the Docker provider, whose constructor its module keeps internal: this module's
// path lies below that module's, which is what Go asks of a user of internal packages.
package shim

import (
	"github.com/hashicorp/terraform-plugin-sdk/v2/helper/schema"
	"github.com/terraform-providers/terraform-provider-docker/internal/provider"
)

// NewProvider returns a provider that is not configured yet.
func NewProvider() *schema.Provider { return provider.New("dev")() }
