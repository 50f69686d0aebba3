"""All that knows cognee: reading sessions, the ledger, writing to the graph."""
