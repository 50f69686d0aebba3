"""The flows: order, fan-out, final state."""
