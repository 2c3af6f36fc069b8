"""Who may do what: sign-in, sessions, tokens, roles, depots, and the audit log."""
