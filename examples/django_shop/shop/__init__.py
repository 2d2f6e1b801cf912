"""A shop of seeds, whose pages are made once for all who look at them."""
