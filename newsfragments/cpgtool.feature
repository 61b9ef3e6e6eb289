corotwist cpgtool shows process groups with the options and the text of corosync-cpgtool, live with --watch, and with --json.
