"""Programs that stand in for the real ones on lab hosts, honest to their contracts."""
