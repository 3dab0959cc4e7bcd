"""The web applications: taking images in, relevance, the catalogue, and the page for people."""
