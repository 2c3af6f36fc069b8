"""Shared kernel: message model, topics, settings, database, named SQL, command line. No business rules."""
