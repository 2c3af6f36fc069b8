"""Detection scored against simulated truth: run scenarios, judge what they send, compare, tell."""
