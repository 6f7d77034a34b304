"""The failure detector in simulation: scenarios, goals, ablations, and the price of it all."""
