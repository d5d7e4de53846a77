"""Where read models outside the database lie, a file for each kind."""
