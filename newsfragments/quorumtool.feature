corotwist quorumtool shows and changes quorum, with the options, the text and the exit status of corosync-quorumtool, and with --json.
