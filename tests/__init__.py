"""The tests mirror the folders; real cognee, real Prefect; the LLM is the only double."""
