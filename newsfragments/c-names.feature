corotwist.cstyle: the configuration map and process groups under the names and numbers of the C libraries, without a reactor; NOT_SUPPORTED is 19, as in corosync.
