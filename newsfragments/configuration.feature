A node reads corosync.conf with all its mistakes told at once, by file and line, runs as `twistd corosync --config FILE`, and stops in order.
