Views of the nodes and what happens in all groups of a client come as one stream, in one order: `client.stream()`.
