"""Image files: read, converted, and written with what must survive of them."""
