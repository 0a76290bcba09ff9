"""What the variables of an inventory mean: pure models, no I/O."""
