"""``srkit audit``: a model's decibels under other conventions of measuring."""
