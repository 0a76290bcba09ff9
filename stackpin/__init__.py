"""Stackpin: deploy small server fleets over SSH, and keep them healthy, pinned and as declared."""
