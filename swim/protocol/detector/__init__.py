"""Who is alive: pings along the rings, silence that is weighed, and polls of the other observers."""
