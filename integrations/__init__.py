"""Adapters for web frameworks and template engines."""
