"""Teachers: where chains come from."""
