"""Tests of `session_memory`."""
