What happens, why, and how it is: `corotwist events` (as corosync-notifyd), `corotwist why NODE` and `corotwist watch` ([watching.md](../docs/watching.md)).
