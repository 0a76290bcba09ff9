"""The order of things: the stages that make a deploy, an update and a rollback."""
