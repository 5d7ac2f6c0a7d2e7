"""``srkit compare``: two reports of `srkit.bench` side by side, image by image."""
