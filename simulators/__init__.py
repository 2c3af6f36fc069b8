"""Traffic with known truth. Knows only topics and payloads, never the code that will judge them."""
