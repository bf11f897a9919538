//! Pooling: over windows, and over all positions.

use attar_models::Op;
use attar_models::op::{GlobalAvgPool, Pool2d};

use super::moments;
use super::windows::pads;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::value::{Live, Value, View, join};

pub(super) fn max_pool<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let input = reader.image(node, &input)?;
    let pool = window(node, &input)?;
    reader.add(node.output(), Op::MaxPool2d(pool), &[&input], Vec::new())
}

pub(super) fn average_pool<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    mean(reader, node, node.output(), &input)
}

/// Means of windows of `input` by the settings of `node`, as a node called `name`.
pub(super) fn mean<'f>(reader: &mut Reader<'f>, node: &Node<'f>, name: &str, input: &Live) -> Result<Live, String> {
    let input = &reader.image(node, input)?;
    let pool = window(node, input)?;
    let padded = pool.padding != [0, 0] || pool.padding_end.is_some();
    // Where nothing is padded there is nothing to count.
    let counts = node.int("count_include_pad").unwrap_or(0) != 0 || !padded && !pool.ceil_mode;
    if pool.kernel == [1, 1] && pool.stride == [1, 1] && !padded {
        return Ok(input.clone());
    }
    reader.add(name, Op::AvgPool2d(Pool2d { count_include_pad: counts, ..pool }), &[input], Vec::new())
}

fn window(node: &Node<'_>, input: &Live) -> Result<Pool2d, String> {
    let [_, h, w] = input.image()?;
    let kernel = node.pair("kernel_shape", 1)?;
    let stride = node.pair("strides", 1)?;
    let dilation = node.pair("dilations", 1)?;
    if dilation != [1, 1] {
        return Err(format!("dilations = {dilation:?}: dilated pooling is not known here"));
    }
    let [top, left, bottom, right] = pads(node, [h, w], kernel, stride, dilation)?;
    let padding_end = ([top, left] != [bottom, right]).then_some([bottom, right]);
    let ceil_mode = node.int("ceil_mode").unwrap_or(0) != 0;
    Ok(Pool2d { ceil_mode, padding_end, ..Pool2d::new(kernel, stride, [top, left]) })
}

/// Over all positions; height and width become 1.
pub(super) fn global<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let input = reader.image(node, &input)?;
    let pool = whole(&input)?;
    let op = if node.op() == "GlobalMaxPool" { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) };
    reader.add(node.output(), op, &[&input], Vec::new())
}

/// The window that is all of an image.
pub(super) fn whole(input: &Live) -> Result<Pool2d, String> {
    let [_, h, w] = input.image()?;
    Ok(Pool2d::new([h, w], [1, 1], [0, 0]))
}

/// A mean over height and width, with or without the axes that it leaves at 1; or over channels, where a layer norm begins.
pub(super) fn reduce_mean<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let input = reader.live(node, 0)?;
    let axes = reduced_axes(reader, node, &input)?;
    let keeps_axes = node.int("keepdims").unwrap_or(1) != 0;
    if keeps_axes && input.channel_axis().is_some_and(|axis| axes == [axis]) {
        return Ok(moments::mean(&input));
    }
    let over_positions = match input.view {
        View::Plain => axes == [2, 3],
        View::ChannelsLast => axes == [1, 2],
        _ => false,
    };
    let (&[_, h, w], true) = (&input.shape[..], over_positions) else {
        let seen = join(&input.seen());
        return Err(format!("a mean of [N, {seen}] over axes {axes:?}; height and width are known here, or channels"));
    };
    if !keeps_axes {
        let made = reader.add(node.output(), Op::GlobalAvgPool(GlobalAvgPool {}), &[&input], Vec::new())?;
        return Ok(vec![Value::Live(made)]);
    }
    let pool = Pool2d::new([h, w], [1, 1], [0, 0]);
    let made = reader.add(node.output(), Op::AvgPool2d(pool), &[&input], Vec::new())?;
    Ok(vec![Value::Live(Live { view: input.view, ..made })])
}

/// The axes of `input` that a mean is over, from the front and sorted: an attribute before operator set 18, then an input.
pub(super) fn reduced_axes<'f>(reader: &Reader<'f>, node: &Node<'f>, input: &Live) -> Result<Vec<usize>, String> {
    let given = reader.maybe_tensor(node, 1)?.and_then(|axes| axes.indices());
    let given = given.or_else(|| node.ints("axes").map(<[i64]>::to_vec)).unwrap_or_default();
    let mut axes = given.iter().map(|axis| input.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    Ok(axes)
}
