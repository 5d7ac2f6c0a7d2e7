"""Many images: what goes where, what is done already, and the work itself."""
