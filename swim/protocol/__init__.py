"""The protocol without I/O: `Node` joins the parts, each of which owns one concept.

README.md beside this file is a tour of them.
"""
