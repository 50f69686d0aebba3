"""Tests of `local_models`."""
