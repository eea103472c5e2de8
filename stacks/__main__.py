"""The program that `pulumi up` runs here: provision the grove that the stack names."""

import coppice

coppice.Grove.from_config()
