"""Where boxes run: one folder a runtime."""
