Every place where bytes or text come in is fuzzed in every test run, and by coverage on demand: `python -m corotwist.test.fuzz`.
