"""Boxes as hardened containers of a Docker daemon."""

# Marks the short-lived containers that are no agent's box.
HELPER_LABEL = "coppice.dev/helper"
