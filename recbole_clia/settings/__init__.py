"""What may be set: property files, their checks, and the configuration made of them."""
