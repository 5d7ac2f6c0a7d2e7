"""Faces: aligned, restored, and put back."""
