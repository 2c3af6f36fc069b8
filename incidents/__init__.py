"""Detection, incidents and the graded response."""
