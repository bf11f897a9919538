//! What rooms hand each other, each file with one owner: one struct a contract, with its version, reading, writing and checks.
