"""How news spreads: of members, of this node itself, and of its applications."""
