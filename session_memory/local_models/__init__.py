"""Models that come inside packages, for a machine with no LLM key and no network."""
