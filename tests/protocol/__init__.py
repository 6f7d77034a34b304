"""The core, concept by concept: synchronous, without sockets, in virtual time."""
