"""The command ``srkit plugins``: what there is, whether it keeps its promises, and a new one."""
