"""Boxes as hardened containers of a Docker daemon."""
