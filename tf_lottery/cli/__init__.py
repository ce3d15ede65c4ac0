"""Commands: flags to a configuration to one call."""
