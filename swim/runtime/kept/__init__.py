"""Connections between members that are kept open, and the direct messages that they carry."""
