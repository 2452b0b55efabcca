"""Where RecBole is met: its faults mended, and the plugin's names entered in its tables."""

from .patches import applied_patches, apply_patches


def activate() -> None:
    """Make RecBole usable and let it know the plugin; done on import, and idempotent."""
    apply_patches()
    from .registry import register

    register()


__all__ = ["activate", "applied_patches"]
