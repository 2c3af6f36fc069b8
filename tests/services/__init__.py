"""Real services for the tests: brokers and databases, each started in a folder of its own."""
