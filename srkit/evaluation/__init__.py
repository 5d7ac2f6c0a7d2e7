"""Quality and face verification, every number with its protocol."""
