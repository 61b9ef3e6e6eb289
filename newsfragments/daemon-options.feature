`twistd corosync` takes the options of corosync: `-f`, `-l FILE`, `-v`, besides `-c` and `-t`.
