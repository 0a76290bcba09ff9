"""The CRM control plane, as it runs on a host. Imports nothing but the standard library."""
