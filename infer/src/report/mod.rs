//! Pictures where people would rather look than read: self-contained HTML.

mod certificate;
pub mod html;
pub mod junit;

pub use certificate::certificate_section;
