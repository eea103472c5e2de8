"""Adapters of agent CLIs: from an agent's plan to what runs in its box."""
