"""``srkit degrade``: what a degradation makes of images."""
