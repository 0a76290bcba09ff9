"""Health asked from the operator's side: what the world sees of a stack."""
