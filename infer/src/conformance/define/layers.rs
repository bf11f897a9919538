//! Layers: convolutions, products of matrices, norms.

use super::fault::Fault;
use super::node::Node;
use super::pools::Windows;
use super::tensor::{Tensor, Whole, indices};

pub(super) fn conv(node: &Node<'_>) -> Result<Tensor, String> {
    convolution(node, node.input(0)?, node.input(1)?, node.maybe(2))
}

/// One product of a layer's sum: places of an input (`None` in the padding) and of a weight.
type Product = (Option<usize>, usize);

pub(super) fn convolution(node: &Node<'_>, x: &Tensor, w: &Tensor, b: Option<&Tensor>) -> Result<Tensor, String> {
    let ([n, c, h, width], [out, per_group, kh, kw]) = (x.image()?, w.image()?);
    let groups = usize::try_from(node.int("group", 1)).unwrap_or(1);
    if groups * per_group != c || out % groups != 0 {
        return Err(format!("{groups} groups of {per_group} channels for {c}"));
    }
    let windows = Windows::of(node, [h, width], [kh, kw])?;
    let [rows, columns] = windows.count;
    let mut values = Vec::new();
    for (image, o) in indices(&[n, out]).iter().map(|index| (index[0], index[1])) {
        for at in indices(&[rows, columns]) {
            let places = windows.places([at[0], at[1]], [h, width]);
            let mut products: Vec<Product> = Vec::new();
            for inner in 0..per_group {
                let channel = o / (out / groups) * per_group + inner;
                let plane = (image * c + channel) * h * width;
                let weights = (o * per_group + inner) * kh * kw;
                let place =
                    |(k, place): (usize, &Option<[usize; 2]>)| (place.map(|[y, x]| plane + y * width + x), weights + k);
                products.extend(places.iter().enumerate().map(place));
            }
            values.push(sum(node, x, w, b, o, &products));
        }
    }
    Ok(Tensor::floats(vec![n, out, rows, columns], values))
}

/// Of products, and the bias of output `o`.
fn sum(node: &Node<'_>, x: &Tensor, w: &Tensor, b: Option<&Tensor>, o: usize, products: &[Product]) -> f64 {
    let plain: f64 = products.iter().map(|(x_at, w_at)| x_at.map_or(0.0, |at| x.values[at]) * w.values[*w_at]).sum();
    let bias = b.map_or(0.0, |b| b.values[o % b.values.len()]);
    match (&x.whole, &w.whole) {
        (Some(of_x), Some(of_w)) => plain + bias + faulty(node, of_x, of_w, b, o, products),
        _ => plain + bias,
    }
}

/// What a fault adds to a sum of products of bytes.
fn faulty(node: &Node<'_>, x: &Whole, w: &Whole, b: Option<&Tensor>, o: usize, products: &[Product]) -> f64 {
    let scale = x.scales[0] * w.scales[products[0].1];
    if node.has(Fault::PaddedByZeros) {
        let padding = products.iter().filter(|(at, _)| at.is_none());
        return padding.map(|(_, at)| -x.zeros[0] * (w.numbers[*at] - w.zeros[*at])).sum::<f64>() * scale;
    }
    if node.has(Fault::SaturatingPairs) {
        // The padding holds the zero point, as it is.
        let product = |(at, of_w): &Product| at.map_or(x.zeros[0], |at| x.numbers[at]) * w.numbers[*of_w];
        let lost = |pair: &[Product]| {
            let sum: f64 = pair.iter().map(product).sum();
            sum.clamp(f64::from(i16::MIN), f64::from(i16::MAX)) - sum
        };
        return products.chunks(2).map(lost).sum::<f64>() * scale;
    }
    if node.has(Fault::WrappingSums) {
        let product = |(at, of_w): &Product| at.map_or(0.0, |at| x.numbers[at] - x.zeros[at]) * w.numbers[*of_w];
        let bias = b.and_then(|b| b.whole.as_ref()).map_or(0.0, |bias| bias.numbers[o % bias.numbers.len()]);
        let sum = products.iter().map(product).sum::<f64>() + bias;
        return (f64::from(sum as i64 as i32) - sum) * scale;
    }
    0.0
}

/// `[n, k] x [k, m]`, the first of any rank.
pub(super) fn matmul(a: &Tensor, b: &Tensor, node: &Node<'_>) -> Result<Tensor, String> {
    let (&[depth, wide], Some(&last)) = (&b.shape[..], a.shape.last()) else {
        return Err(format!("{:?} times {:?}", a.shape, b.shape));
    };
    if depth != last {
        return Err(format!("{:?} times {:?}", a.shape, b.shape));
    }
    let rows = a.values.len() / depth;
    let shape: Vec<usize> = a.shape[..a.shape.len() - 1].iter().copied().chain([wide]).collect();
    let mut values = Vec::new();
    if a.whole.is_none() || b.whole.is_none() {
        for (row, o) in (0..rows).flat_map(|row| (0..wide).map(move |o| (row, o))) {
            values.push((0..depth).map(|k| a.values[row * depth + k] * b.values[k * wide + o]).sum());
        }
        return Ok(Tensor::floats(shape, values));
    }
    for (row, o) in indices(&[rows, wide]).iter().map(|index| (index[0], index[1])) {
        let products: Vec<Product> = (0..depth).map(|k| (Some(row * depth + k), k * wide + o)).collect();
        values.push(sum(node, a, b, None, o, &products));
    }
    Ok(Tensor::floats(shape, values))
}

/// `alpha A B + beta C`.
pub(super) fn gemm(node: &Node<'_>) -> Result<Tensor, String> {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let a = if node.int("transA", 0) == 1 { turned(a)? } else { a.clone() };
    let b = if node.int("transB", 0) == 1 { turned(b)? } else { b.clone() };
    let (alpha, beta) = (node.float("alpha", 1.0, 1.0), node.float("beta", 1.0, 1.0));
    let mut product = matmul(&a, &b, node)?;
    product.values.iter_mut().for_each(|value| *value *= alpha);
    match node.maybe(2).filter(|_| beta != 0.0) {
        None => Ok(product),
        Some(c) => {
            let scaled = Tensor { values: c.values.iter().map(|c| c * beta).collect(), ..c.clone() };
            super::functions::pairwise("Add", &product, &scaled)
        }
    }
}

/// A matrix transposed.
pub(super) fn turned(matrix: &Tensor) -> Result<Tensor, String> {
    let &[rows, columns] = &matrix.shape[..] else { return Err(format!("{:?}, expected a matrix", matrix.shape)) };
    let places: Vec<usize> = indices(&[columns, rows]).iter().map(|at| at[1] * columns + at[0]).collect();
    Ok(matrix.taken(vec![columns, rows], &places))
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias`, each a number a channel.
pub(super) fn batch_norm(node: &Node<'_>) -> Result<Tensor, String> {
    let x = node.input(0)?;
    let [scale, bias, mean, variance] = [node.input(1)?, node.input(2)?, node.input(3)?, node.input(4)?];
    let (epsilon, inner) = (node.float("epsilon", 1e-5, 1e-3), x.shape[2..].iter().product::<usize>());
    let number = |(at, x): (usize, &f64)| {
        let c = at / inner % scale.values.len();
        (x - mean.values[c]) / (variance.values[c] + epsilon).sqrt() * scale.values[c] + bias.values[c]
    };
    Ok(Tensor::floats(x.shape.clone(), x.values.iter().enumerate().map(number).collect()))
}

/// The same with mean and variance of all axes from `axis` on.
pub(super) fn layer_norm(node: &Node<'_>) -> Result<Tensor, String> {
    let (x, scale) = (node.input(0)?, node.input(1)?);
    let axis = node.axis("axis", -1, x.shape.len())?;
    let (length, epsilon) = (x.shape[axis..].iter().product::<usize>(), node.float("epsilon", 1e-5, 1e-6));
    let mut values = Vec::new();
    for row in x.values.chunks(length) {
        let mean = row.iter().sum::<f64>() / length as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / length as f64;
        let normalised = |(at, x): (usize, &f64)| {
            let bias = node.maybe(2).map_or(0.0, |bias| bias.values[at % bias.values.len()]);
            (x - mean) / (variance + epsilon).sqrt() * scale.values[at % scale.values.len()] + bias
        };
        values.extend(row.iter().enumerate().map(normalised));
    }
    Ok(Tensor::floats(x.shape.clone(), values))
}
