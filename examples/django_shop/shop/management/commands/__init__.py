"""Each room is a command."""
