"""``srkit upscale-dataset``: data sets of images on many machines, by Ray (extra ``ray``)."""
