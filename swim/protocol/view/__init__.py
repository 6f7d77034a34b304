"""What this node knows of the cluster: identities, who takes precedence, the rings, the table of members."""
