"""What runs in the supervisor and its children. Nothing of it is imported by the parent."""
