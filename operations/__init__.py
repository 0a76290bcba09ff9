"""How things are made true: operations read facts and yield commands, none when all is so."""
