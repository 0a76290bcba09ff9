"""What is true on a host: read-only, one command each, never a failure for an absent thing."""
