Typed keys of a node: `NodeClient.cmap` and `corotwist cmapctl` read, write, iterate and follow what corosync keeps in cmap; keys below `cluster.` are the same on all nodes.
