"""What is done to an image and how pictures are chosen: no web, no torch."""
