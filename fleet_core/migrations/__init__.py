"""One forward-only line of plain SQL, `NNNN_what.sql`. See `fleet_core.migrate`."""
