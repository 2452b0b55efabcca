"""How does a publisher's raw file become an atomic file?"""
