"""What the server answers under which address; one file a group of routes."""
