"""The only place that works with pyinfra's API: sessions, plans, applies."""
