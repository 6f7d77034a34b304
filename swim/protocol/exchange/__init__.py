"""Everything at once, over streams: joining, comparing views, and finding again those that were lost."""
