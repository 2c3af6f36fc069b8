"""Harsh braking, by class of vehicle."""

from incidents.detectors._harsh import Harsh
from incidents.detectors._manoeuvre import Manoeuvre

# In g for cars: low, medium, high (docs/detection-science.md, B1: limits of products and recorded driving).
_MANOEUVRE = Manoeuvre("harsh_braking", (0.35, 0.45, 0.60), 0, -1)

DETECTOR = Harsh("harsh_braking", "a vehicle was braked harshly", _MANOEUVRE, ("harsh_braking",))
