"""Models against each other: which runs, how each is made and kept, and what they say together."""
