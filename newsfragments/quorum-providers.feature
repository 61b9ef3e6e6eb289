`quorum.provider` names a plug-in: `corosync_votequorum`, `majority` (more than half of the node list), `external` (a program says so), or an engine of another package.
