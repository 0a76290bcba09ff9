"""Looking after what is deployed: pure readings of what hosts report, and streams from them."""
