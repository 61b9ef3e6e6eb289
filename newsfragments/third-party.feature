examples/counter: an engine of a third party, with its commands, client and tests.
