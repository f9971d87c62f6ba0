"""A folder of images looked through before it is trained on: damage, doubles, odd files and lopsided classes."""
