"""Which items and histories are compared: negatives of a target, and further positives of a history."""

from .negatives import Anchors, Draw, NegativeSampler, negative_sampler
from .positives import augmented, halves

__all__ = ["Anchors", "Draw", "NegativeSampler", "augmented", "halves", "negative_sampler"]
