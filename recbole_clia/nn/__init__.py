"""What is computed: encoders, proxies and fusion on tensors, which know nothing of RecBole."""

from .additive import additive_prefix_sum
from .dropout import BitDropout, dropout_of
from .fusion import InterestFusion
from .gaps import GapEmbedding
from .item_direction import ItemDirection
from .long_term import LongTermEncoder
from .neighbours import Neighbours
from .proxies import causal_proxies, long_term_proxy, short_term_proxy
from .proxy_residual import ProxyResidual
from .repeats import RepeatOffsets, seen_items
from .short_term import ShortTermEncoder
from .trend import Trend

__all__ = [
    "BitDropout",
    "GapEmbedding",
    "InterestFusion",
    "ItemDirection",
    "LongTermEncoder",
    "Neighbours",
    "ProxyResidual",
    "RepeatOffsets",
    "ShortTermEncoder",
    "Trend",
    "additive_prefix_sum",
    "causal_proxies",
    "dropout_of",
    "long_term_proxy",
    "seen_items",
    "short_term_proxy",
]
