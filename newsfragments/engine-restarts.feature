An engine that failed is started again by `corotwist cfg replace`, or by itself as often as `corotwist.engine_restarts` says; its clients are told, and those of process groups join again.
