//! Pooling: over windows, and over all positions.

use attar_models::Op;
use attar_models::op::{GlobalAvgPool, Pool2d};

use super::windows::pads;
use crate::read::node::Node;
use crate::read::reader::Reader;
use crate::read::value::{Live, Value, View, join};

pub(super) fn max_pool<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let pool = window(node, &input)?;
    reader.add(node.output(), Op::MaxPool2d(pool), &[&input], Vec::new())
}

pub(super) fn average_pool<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let pool = Pool2d { count_include_pad: node.int("count_include_pad").unwrap_or(0) != 0, ..window(node, &input)? };
    // Where nothing is padded there is nothing to count.
    let padded = pool.padding != [0, 0] || pool.padding_end.is_some();
    let pool = Pool2d { count_include_pad: pool.count_include_pad || !padded && !pool.ceil_mode, ..pool };
    if pool.kernel == [1, 1] && pool.stride == [1, 1] && !padded {
        return Ok(input);
    }
    reader.add(node.output(), Op::AvgPool2d(pool), &[&input], Vec::new())
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
    let padding_end = (([top, left]) != [bottom, right]).then_some([bottom, right]);
    let ceil_mode = node.int("ceil_mode").unwrap_or(0) != 0;
    Ok(Pool2d { ceil_mode, padding_end, stride, padding: [top, left], ..Pool2d { kernel, ..Pool2d::square(1, 1, 0) } })
}

/// Over all positions; height and width become 1.
pub(super) fn global<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Live, String> {
    let input = reader.live(node, 0)?;
    let [_, h, w] = input.image()?;
    let pool = Pool2d { kernel: [h, w], ..Pool2d::square(1, 1, 0) };
    let op = if node.op() == "GlobalMaxPool" { Op::MaxPool2d(pool) } else { Op::AvgPool2d(pool) };
    reader.add(node.output(), op, &[&input], Vec::new())
}

/// A mean over height and width, with or without the axes that it leaves at 1.
pub(super) fn reduce_mean<'f>(reader: &mut Reader<'f>, node: &Node<'f>) -> Result<Vec<Value>, String> {
    let input = reader.live(node, 0)?;
    let given = reader.maybe_tensor(node, 1)?.and_then(|axes| axes.indices());
    let given = given.or_else(|| node.ints("axes").map(<[i64]>::to_vec)).unwrap_or_default();
    let mut axes = given.iter().map(|axis| input.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
    axes.sort_unstable();
    let positions = match input.view {
        View::Plain => [2, 3],
        View::ChannelsLast => [1, 2],
        _ => [0, 0],
    };
    let &[_, h, w] = &input.shape[..] else { return Err(unknown(&input, &axes)) };
    if axes != positions {
        return Err(unknown(&input, &axes));
    }
    let live = if node.int("keepdims").unwrap_or(1) == 0 {
        reader.add(node.output(), Op::GlobalAvgPool(GlobalAvgPool {}), &[&input], Vec::new())?
    } else {
        let pool = Pool2d { kernel: [h, w], ..Pool2d::square(1, 1, 0) };
        let made = reader.add(node.output(), Op::AvgPool2d(pool), &[&input], Vec::new())?;
        Live { view: input.view, ..made }
    };
    Ok(vec![Value::Live(live)])
}

fn unknown(input: &Live, axes: &[usize]) -> String {
    format!("a mean of [N, {}] over axes {axes:?}; only over height and width is known here", join(&input.seen()))
}
