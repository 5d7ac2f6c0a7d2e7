"""``srkit list``, ``info`` and ``models``: what there is, and what is known of it."""
