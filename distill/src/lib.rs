//! How a network learns: recipe → plan → run → checkpoint.
