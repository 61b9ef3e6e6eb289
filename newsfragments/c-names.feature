corotwist.cstyle: process groups under the names and numbers of corosync/cpg.h, without a reactor; NOT_SUPPORTED is 19, as in corosync.
