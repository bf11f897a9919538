//! Windows that slide over images: where they stand, maxima and means.

use super::fault::Fault;
use super::node::Node;
use super::tensor::{Tensor, indices};

/// Where windows stand.
pub(super) struct Windows {
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    pub(super) dilation: [usize; 2],
    /// Rows above and columns before the image.
    pub(super) before: [usize; 2],
    pub(super) behind: [usize; 2],
    /// How many there are.
    pub(super) count: [usize; 2],
}

impl Windows {
    /// By the settings of an operation, over an image of this size.
    pub(super) fn of(node: &Node<'_>, image: [usize; 2], kernel: [usize; 2]) -> Result<Self, String> {
        let (stride, mut dilation) = (node.pair("strides"), node.pair("dilations"));
        if node.has(Fault::NotDilated) {
            dilation = [1; 2];
        }
        let span = [0, 1].map(|i| dilation[i] * (kernel[i] - 1) + 1);
        let lower = node.text("auto_pad") == Some("SAME_LOWER") && !node.has(Fault::SameIsUpper);
        let pads: Vec<usize> = match node.text("auto_pad") {
            Some("SAME_UPPER" | "SAME_LOWER") => {
                let total = [0, 1].map(|i| {
                    let windows = image[i].div_ceil(stride[i]);
                    ((windows - 1) * stride[i] + span[i]).saturating_sub(image[i])
                });
                let small = total.map(|total| total / 2);
                let large = [0, 1].map(|i| total[i] - small[i]);
                let (before, behind) = if lower { (large, small) } else { (small, large) };
                [before, behind].concat()
            }
            Some("VALID") => vec![0; 4],
            _ => node.ints("pads").unwrap_or(&[0; 4]).iter().map(|pad| usize::try_from(*pad).unwrap_or(0)).collect(),
        };
        let &[top, left, bottom, right] = &pads[..] else { return Err(format!("pads {pads:?}")) };
        let before = [top, left];
        let behind = if node.has(Fault::EvenPads) { before } else { [bottom, right] };
        let ceil = node.int("ceil_mode", 0) == 1 && !node.has(Fault::CeilIgnored);
        let mut count = [0; 2];
        for i in 0..2 {
            let room =
                (before[i] + image[i] + behind[i]).checked_sub(span[i]).ok_or("a window larger than its image")?;
            count[i] = room / stride[i] + 1;
            if ceil && room % stride[i] != 0 {
                // A window that would begin in the padding behind the image is left out.
                let begins = count[i] * stride[i];
                count[i] += usize::from(begins < before[i] + image[i] || node.has(Fault::CeilBeyond));
            }
        }
        Ok(Self { kernel, stride, dilation, before, behind, count })
    }

    /// For the window at `[y, x]`, each of its places: the row and column of the image, or `None` in the padding.
    pub(super) fn places(&self, at: [usize; 2], image: [usize; 2]) -> Vec<Option<[usize; 2]>> {
        let inside = |i: usize, k: usize| {
            let place = at[i] * self.stride[i] + k * self.dilation[i];
            place.checked_sub(self.before[i]).filter(|place| *place < image[i])
        };
        let all = indices(&self.kernel);
        all.iter().map(|index| Some([inside(0, index[0])?, inside(1, index[1])?])).collect()
    }

    /// How many places of the window at `[y, x]` lie within the padded image.
    fn padded(&self, at: [usize; 2], image: [usize; 2]) -> usize {
        let within = |i: usize| {
            let end = self.before[i] + image[i] + self.behind[i];
            (0..self.kernel[i]).filter(|k| at[i] * self.stride[i] + k * self.dilation[i] < end).count()
        };
        within(0) * within(1)
    }
}

/// The largest number of each window, or the mean.
pub(super) fn pool(node: &Node<'_>, largest: bool, x: &Tensor) -> Result<Tensor, String> {
    let [n, c, h, w] = x.image()?;
    let windows = Windows::of(node, [h, w], node.pair("kernel_shape"))?;
    let [rows, columns] = windows.count;
    let mut counts = node.int("count_include_pad", 0) == 1;
    if !largest {
        counts = (counts || node.has(Fault::PadsCounted)) && !node.has(Fault::PadsNotCounted);
    }
    let mut values = Vec::new();
    for plane in 0..n * c {
        let plane = &x.values[plane * h * w..][..h * w];
        for at in indices(&[rows, columns]) {
            let at = [at[0], at[1]];
            let places = windows.places(at, [h, w]);
            let numbers = places.iter().flatten().map(|[y, x]| plane[y * w + x]);
            let there = places.iter().flatten().count();
            values.push(match largest {
                true => {
                    let zeros = node.has(Fault::MaxOfZeros) && there < places.len();
                    numbers.fold(if zeros { 0.0 } else { f64::NEG_INFINITY }, f64::max)
                }
                false => {
                    let by = if counts { windows.padded(at, [h, w]) } else { there };
                    numbers.sum::<f64>() / by as f64
                }
            });
        }
    }
    Ok(Tensor::of_kind(vec![n, c, rows, columns], x.kind, values))
}

/// Over all of an image.
pub(super) fn global(x: &Tensor, largest: bool) -> Result<Tensor, String> {
    let [n, c, h, w] = x.image()?;
    let plane = |plane: &[f64]| match largest {
        true => plane.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        false => plane.iter().sum::<f64>() / plane.len() as f64,
    };
    Ok(Tensor::of_kind(vec![n, c, 1, 1], x.kind, x.values.chunks(h * w).map(plane).collect()))
}

/// Means over some axes: an attribute before operator set 18, then an input.
pub(super) fn reduce_mean(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let axes = node.axes("axes", 1).ok_or("a mean over all axes")?;
    let axes: Vec<usize> = axes
        .iter()
        .map(|axis| if *axis < 0 && node.has(Fault::AxisFromFront) { Ok(1) } else { x.axis(*axis) })
        .collect::<Result<_, _>>()?;
    let kept: Vec<usize> =
        x.shape.iter().enumerate().map(|(axis, size)| if axes.contains(&axis) { 1 } else { *size }).collect();
    let mut sums = Tensor::floats(kept.clone(), vec![0.0; kept.iter().product()]);
    let strides = sums.strides();
    let share = sums.values.len() as f64 / x.values.len() as f64;
    for (index, value) in indices(&x.shape).iter().zip(&x.values) {
        let place: usize = index.iter().enumerate().map(|(axis, at)| (at % kept[axis]) * strides[axis]).sum();
        sums.values[place] += value * share;
    }
    if node.int("keepdims", 1) == 0 {
        let left: Vec<usize> = (0..kept.len()).filter(|axis| !axes.contains(axis)).map(|axis| kept[axis]).collect();
        return sums.shaped(left);
    }
    Ok(sums)
}
