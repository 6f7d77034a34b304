"""A chat for people in terminals, without a server: the example that uses all of swim."""
