"""Scenarios, one file each, found by scan: see simulators/scenario.py for what a scenario is."""
