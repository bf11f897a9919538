//! What chores and tests share: the pages of `docs/` that are made and not written.

pub mod pages;
