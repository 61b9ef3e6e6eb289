Programs can ask for how long a verdict of quorum is good though nothing is heard any more: `client.quorum.validUntil()`.
