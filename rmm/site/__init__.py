"""The site collector's side of the link to the hub."""
