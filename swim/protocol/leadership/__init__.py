"""Who leads: the rule, terms that are derived from the view, leases that voters grant, and the voters."""
