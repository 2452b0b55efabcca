"""How a run goes: training, resuming, loading, reporting."""
