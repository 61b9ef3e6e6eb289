A request goes to all members of a group at one place of the order, and the answer of each is gathered, or why there is none (docs/calls.md).
