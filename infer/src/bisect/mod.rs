//! Where two sides part: the same images through a file in two runtimes, through two files, or through a file and what
//! another program recorded, compared value by value by name.
//!
//! At every value two differences are told. The *total* one is that of both sides as they run. A node's *own* error is what
//! is left when its inputs are those of the other side: the nodes between two compared values are cut out of the file, fed
//! with the other side's numbers, and held against its answer. The first node whose own error is more than rounding
//! (`measure.rs` says what that is) is the guilty one; what comes after it is inherited.
//!
//! Values are asked for a few at a time and image by image; what is kept of them are sums.

mod differences;
mod images;
mod measure;
mod part;
mod party;
mod points;
mod report;
mod repro;
mod rows;
mod text;
mod walk;

use std::collections::{BTreeMap, BTreeSet};

use attar_formats::recorded::Recorded;

pub use images::Images;
pub use measure::{Errors, Unit};
pub use party::{Live, recorded_images};
pub use report::{Bisection, Compared, Finding, Found, SideFacts};
pub use repro::write as write_repro;
pub use walk::bisect;

use measure::Rule;
use points::{Levels, Point};

/// Side B.
#[derive(Debug)]
pub enum Other<'m> {
    /// A file in a runtime.
    Live(Box<Live<'m>>),
    /// What another program gave for these images, by the names that the values have in side A's file.
    Recorded(Recorded),
}

/// Values that mean the same on both sides. One side's file can be cut (it is `cut`); the other's values are what its parts
/// are fed with (`given`).
#[derive(Debug, Clone)]
struct Pair {
    cut: Point,
    /// The name on the other side, and what its numbers stand for.
    given: String,
    given_levels: Option<Levels>,
    rule: Rule,
}

/// Pairs by name, in the order of the side that can be cut. The second is what neither name nor alias joins: on the cut
/// side, on the other.
fn pairs(cut: &Live<'_>, given: &Given<'_>, cut_is_b: bool, same_file: bool) -> (Vec<Pair>, [usize; 2]) {
    let names = given.names();
    let mut used = BTreeSet::new();
    let mut found = Vec::new();
    for point in &cut.points {
        let mut own = std::iter::once(&point.value).chain(&point.aliases);
        let Some((name, of)) = own.find_map(|name| names.get(name.as_str())) else { continue };
        used.insert(*name);
        let (levels, alike) = match of {
            Some(other) => (other.levels, same_file || other.quantised == point.quantised),
            // What was recorded of a quantised value is its bytes, or the floats that they stand for.
            None => (point.levels, true),
        };
        let [a, b] = if cut_is_b { [levels, point.levels] } else { [point.levels, levels] };
        let rule = Rule::of(a, b, alike);
        found.push(Pair { cut: point.clone(), given: (*name).to_owned(), given_levels: levels, rule });
    }
    let unmatched = [cut.points.len() - found.len(), given.count().saturating_sub(used.len())];
    (found, unmatched)
}

/// The side whose values are given, not recomputed in parts.
enum Given<'g> {
    Live(&'g Live<'g>),
    Recorded { file: &'g Recorded, input: &'g str, images: usize },
}

impl Given<'_> {
    /// Values by every name that they have: their own name, and their point where they are a file's.
    fn names(&self) -> BTreeMap<&str, (&str, Option<&Point>)> {
        let mut names = BTreeMap::new();
        match self {
            Self::Live(live) => {
                for point in &live.points {
                    let entry = (point.value.as_str(), Some(point));
                    for alias in &point.aliases {
                        names.entry(alias.as_str()).or_insert(entry);
                    }
                }
                // A value's own name wins over others' aliases.
                names.extend(
                    live.points.iter().map(|point| (point.value.as_str(), (point.value.as_str(), Some(point)))),
                );
            }
            Self::Recorded { file, input, .. } => {
                let values = file.shapes().keys().map(String::as_str).filter(|name| name != input);
                names.extend(values.map(|name| (name, (name, None))));
            }
        }
        names
    }

    fn count(&self) -> usize {
        match self {
            Self::Live(live) => live.points.len(),
            Self::Recorded { file, .. } => file.shapes().len().saturating_sub(1),
        }
    }
}
