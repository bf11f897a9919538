//! Pools as ONNX has them: what it says of windows, and where it does not say what is meant.

use attar_models::Node;
use attar_models::op::Pool2d;

use super::proto::AttributeProto;
use super::write::{CONSTANT_MARK, Writer, constant, indices, int, ints, proto, string};

impl Writer<'_> {
    /// A mean over windows of `image`, `[C, H, W]`. What a window counts beyond the padding is told apart by no attribute:
    /// where it reaches there, the padding is made of zeros before.
    pub(super) fn mean(&mut self, node: &Node, pool: &Pool2d, image: &[usize], inputs: Vec<String>, output: &str) {
        let (before, behind) = (pool.padding, pool.padding_end());
        if image[1..] == pool.kernel && [before, behind] == [[0; 2]; 2] {
            self.nodes.push(proto(&node.name, "GlobalAveragePool", inputs, output, Vec::new()));
            return;
        }
        let beyond = |i: usize| reach(pool, &node.shape, i) > before[i] + image[i + 1] + behind[i];
        let (mut pool, mut image, mut inputs) = (pool.clone(), image.to_vec(), inputs);
        if pool.count_include_pad && (beyond(0) || beyond(1)) {
            if [before, behind] != [[0; 2]; 2] {
                let pads = indices([0, 0, before[0], before[1], 0, 0, behind[0], behind[1]]);
                inputs.push(constant(&mut self.constants, node, "pads", pads));
                let padded = format!("{}{CONSTANT_MARK}padded", node.name);
                self.nodes.push(proto(&padded, "Pad", inputs, &padded, vec![string("mode", "constant")]));
                (0..2).for_each(|i| image[i + 1] += before[i] + behind[i]);
                inputs = vec![padded];
            }
            (pool.padding, pool.padding_end, pool.count_include_pad) = ([0; 2], None, false);
        }
        let mut attributes = vec![int("count_include_pad", usize::from(pool.count_include_pad))];
        attributes.extend(window(&pool, &image, &node.shape));
        self.nodes.push(proto(&node.name, "AveragePool", inputs, output, attributes));
    }
}

/// The settings of a window over `image` that makes `made`, both `[C, H, W]`. A size that rounds up is written so where
/// every version of ONNX rounds it alike; where a last window would begin beyond the image, which only the newer ones
/// drop, as padding that makes as many windows.
pub(super) fn window(pool: &Pool2d, image: &[usize], made: &[usize]) -> Vec<AttributeProto> {
    let (kernel, stride, before, mut behind) = (pool.kernel, pool.stride, pool.padding, pool.padding_end());
    let mut rounds_up = pool.ceil_mode;
    let up = |i: usize| {
        let room = (before[i] + image[i + 1] + behind[i] + stride[i] - 1).saturating_sub(kernel[i]);
        room / stride[i] + 1
    };
    if rounds_up && made[1..] != [up(0), up(1)] {
        rounds_up = false;
        behind = [0, 1].map(|i| reach(pool, made, i).saturating_sub(before[i] + image[i + 1]));
    }
    let pads = [before[0], before[1], behind[0], behind[1]];
    let mut attributes = vec![ints("kernel_shape", kernel), ints("pads", pads), ints("strides", stride)];
    attributes.extend(rounds_up.then(|| int("ceil_mode", 1)));
    attributes
}

/// Where the last window ends along axis `i` of the padded image.
fn reach(pool: &Pool2d, made: &[usize], i: usize) -> usize {
    (made[i + 1] - 1) * pool.stride[i] + pool.kernel[i]
}
