Fencing: section `fencing` names an agent that makes sure that lost nodes are off before their votes count as gone; `corotwist fence` shows them, and confirms one.
