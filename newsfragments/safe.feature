SAFE messages are delivered when every member has them, and not before.
