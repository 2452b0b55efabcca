"""What is computed: encoders, proxies and fusion on tensors, which know nothing of RecBole."""

from .dropout import BitDropout
from .fusion import InterestFusion
from .long_term import LongTermEncoder
from .proxies import causal_proxies, long_term_proxy, short_term_proxy
from .short_term import ShortTermEncoder

__all__ = [
    "BitDropout",
    "InterestFusion",
    "LongTermEncoder",
    "ShortTermEncoder",
    "causal_proxies",
    "long_term_proxy",
    "short_term_proxy",
]
