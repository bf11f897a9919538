//! Compiled networks against the executor of plans.
