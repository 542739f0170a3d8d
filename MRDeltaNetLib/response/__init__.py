"""From a prepared case and a network to a probability, and to maps of what it rests on."""
