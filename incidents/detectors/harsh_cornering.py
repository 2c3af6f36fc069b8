"""Harsh cornering, by class of vehicle."""

from incidents.detectors._harsh import Harsh
from incidents.detectors._manoeuvre import Manoeuvre

# In g for cars: low, medium, high (docs/detection-science.md, B1: limits of products and recorded driving).
_MANOEUVRE = Manoeuvre("harsh_cornering", (0.35, 0.45, 0.60), 1, 0)

DETECTOR = Harsh("harsh_cornering", "a vehicle was turned harshly", _MANOEUVRE, ("harsh_cornering",))
