"""Decode splits with a student, score predictions, compare runs."""
