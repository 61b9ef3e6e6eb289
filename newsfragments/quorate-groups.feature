Quorate groups: members send, and get messages, in quorate views only, without a race; the id of the view is a token to fence with.
