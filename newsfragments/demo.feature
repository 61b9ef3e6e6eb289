`corotwist demo` runs a cluster on this machine, kills a node, takes it back, and checks that all delivered the same.
