"""The embedded default: a broker and a database from PyPI, and the supervisor behind `fleet up`."""
