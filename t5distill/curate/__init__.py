"""From chains of any origin to a training set whose every inclusion is accounted for."""
