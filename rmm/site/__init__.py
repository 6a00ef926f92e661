"""The site collector: what makes a poller one of a fleet of sites."""
