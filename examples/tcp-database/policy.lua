-- A program with a database in the company's network: one name, one port, and only where that name
-- leads into the databases' own addresses.

allow.tcp {
  host = "db.corp.example",
  port = 5432,
  resolves_to = "10.20.0.0/16",
  name = "the database",
}
