//! Pictures where people would rather look than read: self-contained HTML.

mod certificate;
pub mod html;

pub use certificate::certificate_section;
