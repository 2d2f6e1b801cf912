"""The 1.x path of the plugins for other libraries."""
