"""The ways to run the flows."""
