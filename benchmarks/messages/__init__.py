"""Messages between members: how many, how fast, and what becomes of them when somebody is slow, or dies."""
