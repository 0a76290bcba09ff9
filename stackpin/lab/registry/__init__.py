"""A private registry on a lab host, and images pushed to it without any Docker on this machine."""
