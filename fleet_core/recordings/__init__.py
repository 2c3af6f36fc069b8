"""Recorded files: messages and drives, read by whoever replays them to a broker or judges them without one."""
