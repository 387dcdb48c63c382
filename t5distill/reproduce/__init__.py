"""Whole experiments: every stage of a recipe in order, from official files to a report."""
