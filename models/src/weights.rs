//! Parameters and buffers as plain named arrays of `f32`.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::graph::Graph;

/// A dense row-major array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// Shape; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements in row-major order; as many as the shape says.
    pub data: Vec<f32>,
}

impl Array {
    /// An array from its parts.
    ///
    /// # Errors
    /// [`Error::Setting`] when the number of elements is not the shape's product.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Result<Self> {
        if shape.iter().product::<usize>() != data.len() {
            return Err(Error::Setting {
                setting: "array",
                problem: format!("{} elements for shape {shape:?}", data.len()),
            });
        }
        Ok(Self { shape, data })
    }
}

/// Named arrays in name order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Array>);

impl Weights {
    /// The array called `name`, if there is one.
    pub fn get(&self, name: &str) -> Option<&Array> {
        self.0.get(name)
    }

    /// The arrays whose names begin with `prefix`, without it.
    pub fn under(&self, prefix: &str) -> Self {
        let own = |(name, array): (&String, &Array)| Some((name.strip_prefix(prefix)?.to_owned(), array.clone()));
        Self(self.0.iter().filter_map(own).collect())
    }

    /// Checks that these are exactly the parameters and buffers of `graph`, shape by shape, and all finite.
    ///
    /// # Errors
    /// [`Error::Mismatch`] listing what is missing, what is left over and which shapes differ, or naming the first
    /// array that holds a NaN or an infinity.
    pub fn check(&self, graph: &Graph) -> Result<()> {
        let fail = |problem: String| Error::Mismatch { network: graph.name().to_owned(), problem };
        let params: Vec<_> = graph.params().collect();
        let mut problems = Vec::new();
        for param in &params {
            match self.get(&param.name) {
                None => problems.push(format!("missing {} {:?}", param.name, param.shape)),
                Some(array) if array.shape != param.shape => {
                    problems.push(format!("{} is {:?}, expected {:?}", param.name, array.shape, param.shape));
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| params.iter().any(|param| param.name == *name);
        problems.extend(self.0.keys().filter(|name| !known(name)).map(|name| format!("left over {name}")));
        if !problems.is_empty() {
            return Err(fail(shorten(&problems)));
        }
        self.check_finite(graph)
    }

    /// Checks that all numbers are finite; `graph` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Mismatch`] naming the first array that holds a NaN or an infinity.
    pub fn check_finite(&self, graph: &Graph) -> Result<()> {
        let fail = |problem: String| Error::Mismatch { network: graph.name().to_owned(), problem };
        for (name, array) in &self.0 {
            if let Some(at) = array.data.iter().position(|v| !v.is_finite()) {
                return Err(fail(format!(
                    "{name}[{at}] is {}\n  hint: the training that wrote it diverged",
                    array.data[at]
                )));
            }
        }
        Ok(())
    }
}

/// The first dozen problems, one a line, and how many more there are.
fn shorten(problems: &[String]) -> String {
    const SHOWN: usize = 12;
    let mut lines: Vec<String> = problems.iter().take(SHOWN).map(|p| format!("\n  {p}")).collect();
    if problems.len() > SHOWN {
        lines.push(format!("\n  and {} more", problems.len() - SHOWN));
    }
    lines.concat()
}
