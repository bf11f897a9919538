//! What values a network takes on calibration images: range and histogram of each value that is to be quantised.

use attar_exec::Network;
use attar_models::{Graph, NodeId, Weights};
use candle_core::{Device, Tensor};

use crate::error::{Error, Result};
use crate::images::Images;

/// Bins of a histogram: 32 for each step of 8 bits, so that an error of rounding can be told within them.
const BINS: usize = 8192;

/// How often a value fell where, between the least and the largest that was seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    low: f32,
    high: f32,
    counts: Vec<u64>,
}

impl Histogram {
    /// An empty one between two numbers.
    pub fn new(low: f32, high: f32) -> Self {
        Self { low, high, counts: vec![0; BINS] }
    }

    /// Counts values; those beyond its ends count there.
    pub fn count(&mut self, values: &[f32]) {
        let per_bin = BINS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for value in values {
            let at = ((value - self.low) * per_bin) as usize; // what is negative becomes 0
            self.counts[at.min(BINS - 1)] += 1;
        }
    }

    /// The least and the largest value.
    pub fn range(&self) -> [f32; 2] {
        [self.low, self.high]
    }

    /// The middle of each bin that is not empty, and how many values fell into it.
    pub fn bins(&self) -> impl Iterator<Item = (f32, u64)> + '_ {
        let width = (f64::from(self.high) - f64::from(self.low)) / BINS as f64;
        let middle = move |at: usize| (f64::from(self.low) + (at as f64 + 0.5) * width) as f32;
        self.counts.iter().enumerate().filter(|(_, count)| **count > 0).map(move |(at, count)| (middle(at), *count))
    }

    /// The range without the outermost values: of `percent` of 100 the middle part, as much cut off at each end.
    pub fn percentile(&self, percent: f64) -> [f32; 2] {
        let all: u64 = self.counts.iter().sum();
        let cut = all as f64 * (100.0 - percent) / 200.0;
        let width = (f64::from(self.high) - f64::from(self.low)) / BINS as f64;
        let from_below = inside(self.counts.iter(), cut) as f64;
        let from_above = inside(self.counts.iter().rev(), cut) as f64;
        [(f64::from(self.low) + from_below * width) as f32, (f64::from(self.high) - from_above * width) as f32]
    }
}

/// How many bins hold no more than `cut` values together.
fn inside<'c>(counts: impl Iterator<Item = &'c u64>, cut: f64) -> usize {
    let mut sum = 0.0;
    let within = |count: &&u64| {
        sum += **count as f64;
        sum <= cut
    };
    counts.take_while(within).count().min(BINS - 1)
}

/// The histograms of a network's values.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// Of each node that was asked for, by [`NodeId::index`].
    histograms: Vec<Option<Histogram>>,
    /// How many images were seen.
    pub images: usize,
}

impl Observed {
    /// The histogram of a node's value, if it was asked for.
    pub fn of(&self, id: NodeId) -> Option<&Histogram> {
        self.histograms.get(id.index()).and_then(Option::as_ref)
    }
}

/// Runs images through a network twice: first for the range of each of the nodes `at`, then for their histograms. `seen` hears
/// how many images of both passes are done. Same images, same bits.
///
/// # Errors
/// No image; a value that is no number, with the name of its node; a device that failed.
pub fn observe(
    graph: &Graph,
    weights: &Weights,
    at: &[NodeId],
    images: &Images<'_>,
    seen: &mut dyn FnMut(usize),
) -> Result<Observed> {
    if images.is_empty() {
        return Err(Error::setting("calibration", "there are no images"));
    }
    let network = Network::from_weights(graph.clone(), weights, &Device::Cpu)?;
    let mut ranges = vec![[f32::INFINITY, f32::NEG_INFINITY]; at.len()];
    let mut done = 0;
    for batch in images.batches() {
        let batch = batch?;
        for ((range, id), values) in ranges.iter_mut().zip(at).zip(values(&network, &batch, at)?) {
            if values.iter().any(|value| !value.is_finite()) {
                let node = &graph.node(*id).name;
                return Err(Error::setting(
                    format!("node `{node}`"),
                    "its values on calibration images are not finite",
                ));
            }
            for value in values {
                *range = [range[0].min(value), range[1].max(value)];
            }
        }
        done += batch.dim(0)?;
        seen(done);
    }
    let mut histograms: Vec<Histogram> = ranges.iter().map(|[low, high]| Histogram::new(*low, *high)).collect();
    for batch in images.batches() {
        let batch = batch?;
        for (histogram, values) in histograms.iter_mut().zip(values(&network, &batch, at)?) {
            histogram.count(&values);
        }
        done += batch.dim(0)?;
        seen(done);
    }
    let mut by_node = vec![None; graph.nodes().len()];
    at.iter().zip(histograms).for_each(|(id, histogram)| by_node[id.index()] = Some(histogram));
    Ok(Observed { histograms: by_node, images: images.len() })
}

/// The values of nodes on a batch. The input is a node, too, of which no network makes the value.
fn values(network: &Network, batch: &Tensor, at: &[NodeId]) -> Result<Vec<Vec<f32>>> {
    let input = network.graph().input();
    let taps: Vec<NodeId> = at.iter().copied().filter(|id| *id != input).collect();
    let mut outputs = network.eval(batch, &taps)?.taps.into_iter();
    let flat = |tensor: &Tensor| tensor.flatten_all()?.to_vec1::<f32>();
    let of = |id: &NodeId| match *id == input {
        true => flat(batch),
        false => outputs.next().map_or_else(|| Ok(Vec::new()), |tensor| flat(&tensor)),
    };
    Ok(at.iter().map(of).collect::<Result<_, candle_core::Error>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_knows_its_percentiles() {
        let mut histogram = Histogram::new(-1.0, 3.0);
        let values: Vec<f32> = (0..=100_000u32).map(|at| at as f32 * 4e-5 - 1.0).collect();
        histogram.count(&values);
        assert_eq!(histogram.range(), [-1.0, 3.0]);
        assert_eq!(histogram.bins().map(|(_, count)| count).sum::<u64>(), 100_001);
        let [low, high] = histogram.percentile(90.0);
        assert!((low + 0.8).abs() < 2e-3 && (high - 2.8).abs() < 2e-3, "{low} {high}");
        assert_eq!(histogram.percentile(100.0), [-1.0, 3.0]);
        let mut one = Histogram::new(2.0, 2.0);
        one.count(&[2.0, 2.0]);
        assert_eq!(one.bins().collect::<Vec<_>>(), [(2.0, 2)]);
    }
}
