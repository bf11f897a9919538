//! Parameters and buffers as plain named arrays.

use std::collections::BTreeMap;

use crate::array::Array;
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::op::{Op, Quantize};

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

    /// Checks that these are exactly the parameters and buffers of `graph`, shape by shape, and all finite `f32`.
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
                Some(array) if array.f32().is_err() => {
                    problems.push(format!("{} is {}, expected F32", param.name, array.elements.type_name()));
                }
                Some(_) => {}
            }
        }
        let known = |name: &String| params.iter().any(|param| param.name == *name);
        problems.extend(self.0.keys().filter(|name| !known(name)).map(|name| format!("left over {name}")));
        if !problems.is_empty() {
            return Err(fail(shorten(&problems)));
        }
        self.check_finite(graph)?;
        self.check_levels(graph)
    }

    /// Checks the numbers of quantisers: scales that can be divided by, a zero point that is one of the numbers.
    fn check_levels(&self, graph: &Graph) -> Result<()> {
        for node in graph.nodes() {
            let scales = self.get(&format!("{}.weight_scale", node.name)).and_then(|array| array.f32().ok());
            if let Some(scale) = scales.and_then(|scales| scales.iter().find(|scale| **scale <= 0.0)) {
                let problem = format!("{}.weight_scale holds {scale}, expected more than 0", node.name);
                return Err(Error::Mismatch { network: graph.name().to_owned(), problem });
            }
            let [low, high] = match &node.op {
                Op::Quantize(quantize) => quantize.range(),
                Op::Dequantize(_) => [-128.0, 255.0],
                _ => continue,
            };
            let first = |suffix: &str| {
                let array = self.get(&format!("{}.{suffix}", node.name));
                array.and_then(|array| array.f32().ok()?.first().copied()).unwrap_or_default()
            };
            let (scale, zero_point) = (first("scale"), first("zero_point"));
            let largest = match &node.op {
                Op::Quantize(Quantize { signed, high: Some(high) }) => {
                    Some((f32::from(*high), if *signed { 127.0 } else { 255.0 }))
                }
                _ => None,
            };
            let problem = if scale <= 0.0 {
                format!("{}.scale is {scale}, expected more than 0", node.name)
            } else if zero_point.fract() != 0.0 || zero_point < low || zero_point > high {
                format!("{}.zero_point is {zero_point}, expected a whole number from {low} to {high}", node.name)
            } else if let Some((own, most)) = largest.filter(|(own, most)| *own <= zero_point || own >= most) {
                let problem = "expected a number above its zero point";
                format!("{}'s largest number is {own}, {problem} {zero_point} and below {most}", node.name)
            } else {
                continue;
            };
            return Err(Error::Mismatch { network: graph.name().to_owned(), problem });
        }
        Ok(())
    }

    /// Checks that all floats are finite; `graph` is only named in errors.
    ///
    /// # Errors
    /// [`Error::Mismatch`] naming the first array that holds a NaN or an infinity.
    pub fn check_finite(&self, graph: &Graph) -> Result<()> {
        let fail = |problem: String| Error::Mismatch { network: graph.name().to_owned(), problem };
        for (name, array) in &self.0 {
            let mut floats = array.f32().unwrap_or_default().iter().enumerate();
            if let Some((at, value)) = floats.find(|(_, value)| !value.is_finite()) {
                return Err(fail(format!("{name}[{at}] is {value}\n  hint: the training that wrote it diverged")));
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
