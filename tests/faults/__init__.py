"""What production does to a run: killed, cancelled, poisoned, raced."""
