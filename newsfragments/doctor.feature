What keeps a node from running well, and what to do about it: `corotwist doctor` looks at the machine, the node, and the ways between machines ([doctor.md](../docs/doctor.md)).
