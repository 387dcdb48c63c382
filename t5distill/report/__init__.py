"""Reports: what runs found, as one HTML page, and the same numbers as JSON and CSV."""
