"""Which members are alive: pings along the rings, silence that is weighed, and polls of the other observers.

README.md beside this file has the theory, the rules with their reasons, and the sources.
"""
