//! Borders, lives, and places in working memory.

use attar_edge::plan::{ALIGNMENT, SLACK, Step};

use crate::draft::Draft;

/// Gives each value its border, its life and its place, and says how much memory that takes.
///
/// Values are placed by size, the largest first, each at the lowest place that is free during its life.
pub(crate) fn lay_out(draft: &mut Draft) -> u64 {
    borders(draft);
    lives(draft);
    let mut order: Vec<usize> = (0..draft.values.len()).collect();
    order.sort_by_key(|&value| (std::cmp::Reverse(draft.values[value].bytes()), value));
    let mut placed: Vec<usize> = Vec::new();
    for value in order {
        if draft.values[value].life == NEVER {
            continue;
        }
        let own = draft.values[value];
        let length = own.bytes() + SLACK;
        let meets = |other: &usize| {
            let [first, last] = draft.values[*other].life;
            first <= own.life[1] && own.life[0] <= last
        };
        let mut taken: Vec<[u64; 2]> = placed.iter().copied().filter(meets).map(|other| extent(draft, other)).collect();
        taken.sort_unstable();
        let mut offset = 0u64;
        for [start, end] in taken {
            if offset + length <= start {
                break;
            }
            offset = offset.max(end.next_multiple_of(ALIGNMENT));
        }
        draft.values[value].offset = offset;
        placed.push(value);
    }
    placed.iter().map(|&value| extent(draft, value)[1]).max().unwrap_or(0).next_multiple_of(ALIGNMENT)
}

fn extent(draft: &Draft, value: usize) -> [u64; 2] {
    let tensor = draft.values[value];
    [tensor.offset, tensor.offset + tensor.bytes() + SLACK]
}

/// The life of a value that no step touches.
const NEVER: [u32; 2] = [u32::MAX, 0];

fn lives(draft: &mut Draft) {
    let mut lives = vec![NEVER; draft.values.len()];
    for (number, (step, _)) in (0u32..).zip(&draft.steps) {
        for value in step.inputs().chain(step.output()) {
            let [first, last] = lives[value as usize];
            lives[value as usize] = [first.min(number), last.max(number)];
        }
    }
    draft.values.iter_mut().zip(lives).for_each(|(value, life)| value.life = life);
}

/// How far convolutions reach beyond the images that they read.
fn borders(draft: &mut Draft) {
    for at in 0..draft.steps.len() {
        let Step::Convolution(convolution) = draft.steps[at].0 else { continue };
        let (input, output) = (draft.tensor(convolution.input), draft.tensor(convolution.output));
        let mut border = convolution.padding[0].max(convolution.padding[1]);
        for axis in 0..2 {
            let span = (convolution.kernel[axis] - 1) * convolution.dilation[axis] + 1;
            let reach = (output.size[axis] - 1) * convolution.stride[axis] + span;
            border = border.max(reach.saturating_sub(convolution.padding[axis] + input.size[axis]));
        }
        let value = &mut draft.values[convolution.input as usize];
        value.border = value.border.max(border);
    }
}
