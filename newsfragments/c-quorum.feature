corosync/quorum.h and corosync/votequorum.h under their own names: `corotwist.cstyle.quorum` and `votequorum`.
