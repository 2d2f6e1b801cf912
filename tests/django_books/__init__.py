"""A small application of the tests' site: books, and who has written them."""
