"""Harsh acceleration, by class of vehicle."""

from incidents.detectors._harsh import Harsh
from incidents.detectors._manoeuvre import Manoeuvre

# In g for cars: low, medium, high (docs/detection-science.md, B1: limits of products and recorded driving).
_MANOEUVRE = Manoeuvre("harsh_acceleration", (0.28, 0.35, 0.45), 0, 1)

DETECTOR = Harsh("harsh_acceleration", "a vehicle was accelerated harshly", _MANOEUVRE, ("harsh_acceleration",))
