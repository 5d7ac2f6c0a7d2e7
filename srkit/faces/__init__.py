"""Faces: found, cropped and aligned."""
