"""Tools of the tests: servers, clients, brokers and logins."""
