"""What a deployment leaves behind as proof: written once, checkable later without any host."""
