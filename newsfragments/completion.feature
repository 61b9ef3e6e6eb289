corotwist completion prints what bash, zsh and fish need to complete commands and options.
