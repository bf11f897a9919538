//! What a run leaves behind: metrics, the last judgement, reference answers, card and receipt; of an unfinished run as well.

pub(in crate::run) mod finish;
pub(in crate::run) mod judge;
pub(in crate::run) mod receipt;
pub(in crate::run) mod reference;
pub(in crate::run) mod robustness;
pub(in crate::run) mod unfinished;
