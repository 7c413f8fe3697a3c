"""What stands between a socket and the application: limits that hold before a request is looked at."""
