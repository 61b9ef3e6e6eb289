Services are engines found through Twisted's plug-ins, synchronized after every change; process groups, votes and configuration versions ship, and docs/writing-an-engine.md shows how to add one.
