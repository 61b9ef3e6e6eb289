The tree of objects of a configuration: `NodeClient.confdb` and `corotwist confdb`, with transactions; both work on files when no node runs.
