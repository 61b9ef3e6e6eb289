corotwist vqsim tries out what votes decide, with the commands of corosync-vqsim, on simulated nodes of production code.
