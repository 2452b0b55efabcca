"""Search of a model's properties: what is searched, the study that searches, and what it found."""
