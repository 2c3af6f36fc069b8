"""Usage meters, service tasks and work orders."""
