Engines learn when all members have what was delivered (`whenStable`), until when nobody of their ring can have gone on without them (`leaseEnds`), and which nodes can be heard (`nodeStatus`).
