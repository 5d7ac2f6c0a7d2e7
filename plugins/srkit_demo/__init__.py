"""``srkit demo``: an astronaut's face from 16x16 pixels."""
