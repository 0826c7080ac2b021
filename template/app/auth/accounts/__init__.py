"""Accounts, their logins, and the database that keeps both."""
