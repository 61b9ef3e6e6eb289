A node can be in one ring with unmodified corosync 3.1 nodes, as any member and as the representative.
