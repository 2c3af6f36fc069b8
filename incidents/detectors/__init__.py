"""Detectors, one file each, found by scan: see incidents/detector.py for what a detector is."""
