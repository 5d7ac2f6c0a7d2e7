"""Studies: what a paper trained and measured, repeated, and laid beside what it published."""
