"""The networks, their files and the list of them; the weights that come with Tessera lie here too."""
