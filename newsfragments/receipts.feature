A sender may be told when its message is ordered, or held by every member, with its place in the order and the view; a message may be for some members, or for several groups (docs/client.md).
