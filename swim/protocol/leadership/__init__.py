"""Which member leads: the rule, terms derived from the view, leases that voters grant, and the voters.

README.md beside this file has the rules with their reasons, and the traces that broke earlier ones.
"""
