With `totem.keyfile` every datagram between the nodes is sealed (XChaCha20-Poly1305), bound to the cluster's name and accepted once; `corotwist keygen` makes the key.
