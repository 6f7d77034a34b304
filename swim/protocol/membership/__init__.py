"""Who is a member: news that is applied, newcomers and rivals that have to answer, this node's return."""
