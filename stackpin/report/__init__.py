"""Runs and inventories as pages to look at and as figures to collect."""
