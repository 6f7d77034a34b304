"""UDP and TCP sockets: where this node is, what is sent and received, what the kernel reports."""
