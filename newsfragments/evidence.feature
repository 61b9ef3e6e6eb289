A configuration tells who noticed the end of the ring before, and whom that node called failed.
