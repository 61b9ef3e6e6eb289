Nodes form a ring, order messages and form it again after any failure: the Totem single-ring protocol over udpu and udp.
